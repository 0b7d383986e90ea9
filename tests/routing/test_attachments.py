"""Attachments decide which models can be called, and count in windows and costs as each model counts them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmroute.attachments.reading import read_all
from llmroute.errors import ContextLengthError, ParameterError
from llmroute.planning.candidates import sized
from llmroute.planning.local.model_cache import limited
from llmroute.providers import ListedModel
from llmroute.routing.exclusions import exclude
from llmroute.routing.plan import Candidate, RoutingConstraints
from llmroute.routing.token_estimate import PromptSize, measure
from llmroute.types import Message, ModelConfig, Price, Prompt
from tests.support.attached_files import gif, pdf, png

CAN = frozenset({"vision", "pdf"})


def size_of(*sources: Any) -> PromptSize:
    return measure(Prompt((Message("user", "What is it?"),), attachments=read_all(sources, None)))


def candidate(name: str, capabilities: frozenset[str] = CAN, window: int = 200_000) -> Candidate:
    provider, _, model = name.partition("/")
    found = ModelConfig(provider, model, model, context_window=window, max_output=1_000, capabilities=capabilities)
    return Candidate(found, Price(10, 20), None, None, local=provider == "ollama", typical_s=1.0)


def reason(one: Candidate, size: PromptSize, **asked: Any) -> str | None:
    constraints = RoutingConstraints("cost_optimized", size, capabilities=size.capabilities, **asked)
    found = exclude(one, constraints)
    return None if found is None else found.reason


def test_what_is_attached_must_be_among_the_capabilities() -> None:
    sees = frozenset({"vision"})
    assert size_of().capabilities == size_of(b"text").capabilities == frozenset()
    assert reason(candidate("openai/a", frozenset()), size_of(b"text")) is None
    assert reason(candidate("openai/a", frozenset()), size_of(png())) == "lacks vision"
    assert reason(candidate("openai/a", sees), size_of(png(), pdf())) == "lacks pdf"
    assert reason(candidate("openai/a"), size_of(png(), pdf())) is None


def test_what_the_provider_does_not_take_excludes_its_models() -> None:
    moving = size_of(gif(frames=2))
    assert reason(candidate("openai/a"), moving) == "takes no animated images (attachment 1)"
    assert reason(candidate("anthropic/a"), moving) is None
    address = size_of("https://a.example/a.png")
    assert "does not fetch URLs" in str(reason(candidate("ollama/a"), address))
    assert reason(candidate("openai/a"), address, local_only=True) == "does not run on this machine"


def test_the_tokens_of_an_image_count_as_the_model_counts_them() -> None:
    plain, size = size_of(), size_of(png(540, 360))
    for name, tokens in (("anthropic/claude-haiku-4-5", 260), ("openai/gpt-4.1-nano", 502)):
        of_model = size.for_model(candidate(name).model)
        assert of_model.expected_input - plain.expected_input == tokens
        assert of_model.worst_input - plain.worst_input == tokens
        assert of_model.for_model(candidate(name).model) == of_model, "added once"


def test_times_are_looked_up_for_prompts_of_the_size_of_the_attachments() -> None:
    assert size_of().typical_input == size_of().expected_input
    assert size_of(pdf(40)).typical_input == size_of().expected_input + 40_000


def test_costs_and_reservations_hold_the_tokens_of_attachments() -> None:
    with_pages, without = (sized(candidate("openai/gpt-4o"), size) for size in (size_of(pdf(10)), size_of()))
    assert None not in (with_pages.expected_cost_picousd, without.expected_cost_picousd)
    expected = (with_pages.expected_cost_picousd or 0) - (without.expected_cost_picousd or 0)
    worst = (with_pages.worst_cost_picousd or 0) - (without.worst_cost_picousd or 0)
    assert expected == 10 * 1_500 * 10
    assert worst == 10 * (3_000 + 1_105) * 10
    assert with_pages.worst is not None
    assert with_pages.worst.prompt_picousd - (without.worst.prompt_picousd if without.worst else 0) == worst


def test_an_unknown_number_of_pages_costs_at_most_a_full_window() -> None:
    one = candidate("anthropic/claude-haiku-4-5")
    size = size_of("https://a.example/a.pdf").for_model(one.model)
    assert size.worst_input == size_of().worst_input + 200_000


def test_a_document_must_fit_the_window() -> None:
    assert "too long for its context window" in str(reason(candidate("openai/gpt-4o", window=20_000), size_of(pdf(90))))
    assert reason(candidate("openai/gpt-4o"), size_of(pdf(90))) is None


@pytest.mark.parametrize(("told", "kind"), [(frozenset[str](), ParameterError), (CAN, None), (None, None)])
def test_a_local_model_that_says_that_it_lacks_vision_gets_no_image(
    told: frozenset[str] | None, kind: type[Exception] | None
) -> None:
    model = replace(candidate("ollama/a").model, capabilities=frozenset(), known=False)
    if kind is None:
        assert limited(model, ListedModel("a", capabilities=told), size_of(png())).name == "ollama/a"
    else:
        with pytest.raises(kind, match="ollama/a: lacks vision"):
            limited(model, ListedModel("a", capabilities=told), size_of(png()))
    with pytest.raises(ContextLengthError):
        limited(model, ListedModel("a", context_window=4_096, capabilities=CAN), size_of(png()))
