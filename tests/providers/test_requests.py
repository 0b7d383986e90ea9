"""Every request that can be asked for, against its publisher's own description."""

from __future__ import annotations

import itertools

import pytest

from llmroute.types import Message, ModelConfig, ParameterLimits, Prompt
from tests.providers import corpus
from tests.providers.descriptions import SCHEMAS, faults
from tests.providers.samples import sent

pytestmark = corpus.needs_specs

EFFORTS: dict[str, list[tuple[str | None, tuple[str, ...]]]] = {
    "openai": [
        (None, ()),
        ("reasoning_effort", ("none", "low", "medium", "high", "xhigh")),
        ("reasoning_effort", ("low",)),
    ],
    "anthropic": [(None, ()), ("output_config", ("low", "medium", "high")), ("thinking_budget", ("low", "high"))],
    "mistral": [(None, ()), ("reasoning_effort", ("none", "high"))],
    "together": [(None, ()), ("reasoning_effort", ("low", "medium", "high")), ("reasoning_enabled", ("none", "high"))],
    "ollama": [(None, ()), ("think", ("none", "high")), ("think_level", ("low", "medium", "high"))],
}


def prompts() -> list[Prompt]:
    turns = ((Message("user", "Grüße 🙂"),), (Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
    said = itertools.product(
        turns,
        (None, "be brief"),
        (None, 0.0, 2.0),
        (None, 1, 3_000),
        ((), ("a",), ("a", "b", "c", "d")),
        (None, "none", "low", "medium", "high"),
        (False, True),
    )
    return [
        Prompt(messages, system, temperature, max_tokens, stop, effort, streaming)  # type: ignore[arg-type]
        for messages, system, temperature, max_tokens, stop, effort, streaming in said
    ]


@pytest.mark.parametrize(
    ("provider", "form", "efforts"),
    [(provider, form, efforts) for provider, forms in EFFORTS.items() for form, efforts in forms],
)
def test_every_request_fits_its_publishers_description(
    provider: str, form: str | None, efforts: tuple[str, ...]
) -> None:
    model = ModelConfig(provider, "m", "m", parameters=ParameterLimits(effort_form=form, efforts=efforts))
    bodies = {repr(body): body for body in (sent(provider, prompt, model) for prompt in prompts())}
    wrong = {text: found for text, body in bodies.items() if (found := faults(provider, body))}
    assert wrong == {}


@pytest.mark.parametrize("provider", SCHEMAS)
def test_the_check_itself_finds_what_is_wrong(provider: str) -> None:
    model = ModelConfig(provider, "m", "m")
    body = sent(provider, Prompt((Message("user", "a"),)), model)
    assert faults(provider, body) == []
    assert faults(provider, body | {"no_such_key": 1})
    assert faults(provider, body | {"messages": "text"})


def test_a_thinking_model_of_openai_gets_no_temperature_and_no_max_tokens() -> None:
    limits = ParameterLimits(temperature=False, efforts=("low", "high"), effort_form="reasoning_effort")
    for prompt in prompts():
        body = sent("openai", prompt, ModelConfig("openai", "m", "m", parameters=limits))
        assert not {"temperature", "max_tokens"} & body.keys()


def test_anthropic_never_gets_a_temperature_with_thinking() -> None:
    for form in ("output_config", "thinking_budget"):
        limits = ParameterLimits(efforts=("none", "low", "high"), effort_form=form)
        for prompt in prompts():
            body = sent("anthropic", prompt, ModelConfig("anthropic", "m", "m", parameters=limits))
            assert body["max_tokens"] > 0
            if body.get("thinking", {"type": "disabled"}) != {"type": "disabled"}:
                assert "temperature" not in body
