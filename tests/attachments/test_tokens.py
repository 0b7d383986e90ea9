"""Tokens of images and pages against recorded usage: never under it, and for images hardly above."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.attachments.tokens import AttachmentTokens, attachment_tokens
from llmroute.registry import ModelRegistry
from llmroute.types import AttachmentFacts, ModelConfig

RECORDED_IMAGES = [
    ("anthropic/claude-haiku-4-5", 540, 360, 260),
    ("anthropic/claude-sonnet-4-5", 128, 128, 25),
    ("anthropic/claude-sonnet-4-5", 166, 282, 66),
    ("anthropic/claude-sonnet-5", 300, 346, 143),
    ("openai/gpt-4o", 3008, 2000, 1_105),
    ("openai/gpt-4.1-mini", 300, 346, 179),
    ("openai/gpt-4.1-nano", 540, 360, 502),
    ("mistral/mistral-medium-2604", 597, 566, 483),
    ("mistral/mistral-medium-2604", 400, 301, 176),
]
RECORDED_PAGES = [
    ("anthropic/claude-sonnet-4-5", 1_580),
    ("anthropic/claude-haiku-4-5", 2_650),
    ("anthropic/claude-sonnet-5", 1_700),
    ("openai/gpt-4o", 235),
    ("openai/gpt-4.1-nano", 1_100),
    ("mistral/mistral-medium-2604", 900),
]


def tokens(name: str, width: int | None, height: int | None) -> AttachmentTokens:
    provider, _, model = name.partition("/")
    facts = AttachmentFacts("a", "image/png", 1, width, height)
    return attachment_tokens(ModelConfig(provider, model, model), [facts])


def pages(name: str, number: int | None) -> AttachmentTokens:
    provider, _, model = name.partition("/")
    return attachment_tokens(
        ModelConfig(provider, model, model), [AttachmentFacts("a", "application/pdf", 1, pages=number)]
    )


@pytest.mark.parametrize(("model", "width", "height", "recorded"), RECORDED_IMAGES)
def test_an_image_has_the_recorded_tokens_or_a_few_more(model: str, width: int, height: int, recorded: int) -> None:
    found = tokens(model, width, height)
    assert recorded <= found.expected <= recorded * 1.03
    assert found.most == found.expected


@pytest.mark.parametrize(("model", "recorded"), RECORDED_PAGES)
def test_a_page_has_at_least_the_recorded_tokens(model: str, recorded: int) -> None:
    found = pages(model, 7)
    assert 7 * recorded <= found.expected < found.most


@pytest.mark.parametrize(
    ("model", "width", "height", "expected"),
    [
        ("anthropic/claude-sonnet-4-6", 8_000, 8_000, 1_568),
        ("anthropic/claude-opus-4-7", 8_000, 8_000, 4_784),
        ("anthropic/claude-fable-5-1", 8_000, 4_000, 92 * 46),
        ("openai/gpt-4o", 100, 100, 85 + 170),
        ("openai/gpt-4o-mini", 1_024, 1_024, 2_833 + 4 * 5_667),
        ("openai/gpt-5", 4_096, 8_192, 70 + 6 * 140),
        ("openai/gpt-5.1", 100, 100, 70 + 140),
        ("openai/o3", 100, 100, 75 + 150),
        ("openai/gpt-5.2", 1_024, 1_024, 1_229),
        ("openai/gpt-5.4-nano", 4_096, 4_096, 3_000),
        ("openai/gpt-6.2-sol", 8_000, 100, 77),
        ("openai/o4-mini", 32, 32, 2),
        ("mistral/pixtral-12b", 2_048, 2_048, 64 * 64 + 64),
        ("mistral/mistral-large-4", 3_080, 3_080, 55 * 55 + 55),
        ("together/meta/llama", 100, 100, 1_601),
        ("together/meta/llama", 1_120, 1_120, 6_404),
        ("together/moonshotai/Kimi-K3", 4_000, 4_000, 16_384),
        ("ollama/gemma3", 10, 10, 4_096),
    ],
)
def test_an_image_is_scaled_as_the_provider_does(model: str, width: int, height: int, expected: int) -> None:
    assert tokens(model, width, height).expected == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from(ModelRegistry.list_models()))
def test_an_image_of_unknown_size_is_never_reckoned_below_one_of_a_known_size(
    width: int, height: int, model: str
) -> None:
    assert 0 < tokens(model, width, height).most <= tokens(model, None, None).most


def test_a_pdf_that_only_the_provider_fetches_has_many_pages_at_most() -> None:
    found = pages("anthropic/claude-opus-5", None)
    assert found.most > 30 * found.expected


def test_text_is_counted_with_the_prompt() -> None:
    facts = AttachmentFacts("a.txt", "text/plain", 10_000)
    assert attachment_tokens(ModelConfig("openai", "gpt-4o", "gpt-4o"), [facts]) == (0, 0)
