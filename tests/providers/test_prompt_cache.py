"""What calls have in common is marked for the provider's prompt cache, and nothing is marked unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmroute.attachments.reading import read_all
from llmroute.request.attached import cache_mark, with_texts
from llmroute.types import Attachment, CacheMark, Message, Prompt
from tests.providers import corpus
from tests.providers.descriptions import faults
from tests.providers.samples import model, prompt, sent

PIXEL = Attachment(data=b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;")
MARK = {"type": "ephemeral"}
ALL = CacheMark(certain=True)


def test_anthropic_marks_the_system_prompt() -> None:
    body = sent("anthropic", prompt(system="be brief", cache=ALL), model("anthropic"))
    assert body["system"] == [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert "cache_control" not in str(body["messages"])


def test_anthropic_marks_the_last_attachment_and_not_the_text_that_differs() -> None:
    told = Prompt(
        (Message("user", "what?"),),
        system="be brief",
        cache=ALL._replace(media=2),
        attachments=read_all([PIXEL, PIXEL], None),
    )
    first, second, text = sent("anthropic", told, model("anthropic"))["messages"][0]["content"]
    assert "cache_control" not in first
    assert second["cache_control"] == MARK
    assert text == {"type": "text", "text": "what?"}


def test_anthropic_marks_the_texts_that_are_shared_apart_from_the_question() -> None:
    read = read_all([PIXEL, Attachment(data=b"the report", name="report.txt")], None)
    told = with_texts((Message("user", "what?"),), read)
    body = sent("anthropic", Prompt(told, cache=cache_mark(read, certain=True), attachments=read), model("anthropic"))
    picture, report, question = body["messages"][0]["content"]
    assert (picture["type"], "cache_control" in picture) == ("image", False)
    assert report["cache_control"] == MARK
    assert question == {"type": "text", "text": "what?"}
    assert report["text"] + question["text"] == told[0].content


def test_anthropic_marks_what_is_shared_before_an_attachment_that_is_not() -> None:
    read = read_all([PIXEL, Attachment(data=b"the report", name="report.txt"), PIXEL], None)
    told = Prompt(
        with_texts((Message("user", "what?"),), read), cache=cache_mark(read[:2], certain=True), attachments=read
    )
    shared, report, own, question = sent("anthropic", told, model("anthropic"))["messages"][0]["content"]
    assert report["cache_control"] == MARK
    assert not any("cache_control" in part for part in (shared, own, question))
    assert (own["type"], question["text"]) == ("image", "what?")
    assert report["text"] + question["text"] == told.messages[0].content


@pytest.mark.parametrize("name", ["openai", "mistral", "together"])
def test_a_shared_text_comes_before_pictures_that_are_not_shared(name: str) -> None:
    read = read_all([Attachment(data=b"the report", name="report.txt"), PIXEL], None)
    told = Prompt(
        with_texts((Message("user", "what?"),), read), cache=cache_mark(read[:1], certain=True), attachments=read
    )
    parts = sent(name, told, model(name))["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text"]
    assert parts[0]["text"] + parts[2]["text"] == told.messages[0].content


@pytest.mark.parametrize(("tokens", "certain", "marked"), [(99, True, False), (100, False, True), (100, True, True)])
def test_anthropic_marks_no_less_than_the_model_caches(tokens: int, certain: bool, marked: bool) -> None:
    told = prompt(system="four" * tokens, cache=CacheMark("1h", certain=certain))
    body = sent("anthropic", told, replace(model("anthropic"), cache_min_tokens=100))
    assert ("cache_control" in str(body)) == marked
    assert not marked or body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_anthropic_marks_unasked_only_where_the_minimum_of_the_model_is_known() -> None:
    told = prompt(system="four" * 100_000, cache=CacheMark())
    assert "cache_control" not in str(sent("anthropic", told, model("anthropic")))


@pytest.mark.parametrize("name", ["openai", "mistral"])
def test_prompts_that_share_a_beginning_have_one_key(name: str) -> None:
    keys = [
        sent(name, prompt(text, system=system, cache=ALL), model(name))["prompt_cache_key"]
        for text, system in (("a", "same"), ("b", "same"), ("a", "other"))
    ]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("name", ["openai", "mistral", "anthropic", "together", "ollama"])
def test_nothing_is_marked_unasked_or_where_nothing_is_shared(name: str) -> None:
    for one in (prompt(system="be brief"), prompt(cache=ALL)):
        body = sent(name, one, replace(model(name), context_window=1000))
        assert "prompt_cache_key" not in body
        assert "cache_control" not in str(body)


@corpus.needs_specs
@pytest.mark.parametrize("name", ["openai", "mistral", "anthropic", "together", "ollama"])
@pytest.mark.parametrize("pictures", [[], [PIXEL]])
def test_marked_requests_fit_the_publishers_description(name: str, pictures: list[Attachment]) -> None:
    read = read_all([*pictures, Attachment(data=b"notes", name="notes.txt")], None)
    marks = [cache_mark(read[:count], life, certain=True) for count in range(len(read) + 1) for life in ("5m", "1h")]
    for mark in marks:
        told = Prompt(with_texts((Message("user", "what?"),), read), system="be brief", cache=mark, attachments=read)
        assert faults(name, sent(name, told, model(name))) == []
