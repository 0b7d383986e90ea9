"""What calls have in common is marked for the provider's prompt cache, and nothing is marked unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmroute.attachments.reading import read_all
from llmroute.types import Attachment, Message, Prompt
from tests.providers import corpus
from tests.providers.descriptions import faults
from tests.providers.samples import model, prompt, sent

PIXEL = Attachment(data=b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;")
MARK = {"type": "ephemeral"}


def test_anthropic_marks_the_system_prompt() -> None:
    body = sent("anthropic", prompt(system="be brief", cached=True), model("anthropic"))
    assert body["system"] == [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert "cache_control" not in str(body["messages"])


def test_anthropic_marks_the_last_attachment_and_not_the_text_that_differs() -> None:
    told = Prompt(
        (Message("user", "what?"),), system="be brief", cached=True, attachments=read_all([PIXEL, PIXEL], None)
    )
    first, second, text = sent("anthropic", told, model("anthropic"))["messages"][0]["content"]
    assert "cache_control" not in first
    assert second["cache_control"] == MARK
    assert text == {"type": "text", "text": "what?"}


@pytest.mark.parametrize("name", ["openai", "mistral"])
def test_prompts_that_share_a_beginning_have_one_key(name: str) -> None:
    keys = [
        sent(name, prompt(text, system=system, cached=True), model(name))["prompt_cache_key"]
        for text, system in (("a", "same"), ("b", "same"), ("a", "other"))
    ]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("name", ["openai", "mistral", "anthropic", "together", "ollama"])
def test_nothing_is_marked_unasked_or_where_nothing_is_shared(name: str) -> None:
    for one in (prompt(system="be brief"), prompt(cached=True)):
        body = sent(name, one, replace(model(name), context_window=1000))
        assert "prompt_cache_key" not in body
        assert "cache_control" not in str(body)


@corpus.needs_specs
@pytest.mark.parametrize("name", ["openai", "mistral", "anthropic", "together", "ollama"])
@pytest.mark.parametrize("pictures", [[], [PIXEL]])
def test_marked_requests_fit_the_publishers_description(name: str, pictures: list[Attachment]) -> None:
    told = Prompt((Message("user", "what?"),), system="be brief", cached=True, attachments=read_all(pictures, None))
    assert faults(name, sent(name, told, model(name))) == []
