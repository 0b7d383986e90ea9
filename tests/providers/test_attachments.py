"""Each provider's form of images and PDFs, by its publisher's description, and the answers recorded for them."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest

from llmroute.attachments.reading import read_all
from llmroute.providers.wire.ollama_context import context_for, cut_of
from llmroute.schema.answer_schema import read_schema
from llmroute.types import HTTPRequest, Message, ModelConfig, Prompt, Usage
from tests.providers import corpus
from tests.providers.descriptions import faults
from tests.providers.samples import sent
from tests.providers.test_recordings import provider_of
from tests.providers.test_recordings import read_all as read_stream
from tests.support.attached_files import jpeg, pdf, png

PNG, JPEG, PDF = png(), jpeg(), pdf()
PICTURE_URL, PDF_URL = "https://a.example/a.png", "https://a.example/b.pdf"
TURNS = (Message("assistant", "Hm?"), Message("user", "What is it?"), Message("assistant", "A"), Message("user", "Go"))

BOTH = (False, True)
TAKES: dict[str, list[Any]] = {
    "openai": [PNG, JPEG, PDF, PICTURE_URL],
    "anthropic": [PNG, JPEG, PDF, PICTURE_URL, PDF_URL],
    "mistral": [PNG, JPEG, PDF, PICTURE_URL, PDF_URL],
    "together": [PNG, JPEG, PICTURE_URL],
    "ollama": [PNG, JPEG],
}


def prompt(*sources: Any, messages: tuple[Message, ...] = (Message("user", "What is it?"),)) -> Prompt:
    return Prompt(messages, attachments=read_all(sources, None))


def body_of(provider: str, *sources: Any, **asked: Any) -> dict[str, Any]:
    return sent(provider, prompt(*sources, **asked), ModelConfig(provider, "m", "m"))


@corpus.needs_specs
@pytest.mark.parametrize("provider", TAKES)
def test_every_combination_fits_the_publishers_description(provider: str) -> None:
    for number in range(1, 4):
        for sources in itertools.product(TAKES[provider], repeat=number):
            for messages in ((Message("user", "Go"),), TURNS, (Message("user", " "), *TURNS)):
                assert faults(provider, body_of(provider, *sources, messages=messages)) == []


@corpus.needs_specs
@pytest.mark.parametrize("provider", TAKES)
@pytest.mark.parametrize("can", [frozenset[str](), frozenset({"json"})])
def test_attachments_combine_with_every_other_part_of_a_request(provider: str, can: frozenset[str]) -> None:
    model = ModelConfig(provider, "m", "m", capabilities=can)
    given = prompt(*TAKES[provider])
    for schema, system, streaming in itertools.product((None, read_schema("name, age int")), (None, "Be brief"), BOTH):
        asked = given._replace(schema=schema, system=system, streaming=streaming, max_tokens=9, stop=("a",))
        body = sent(provider, asked, model)
        assert faults(provider, body) == []
        assert json.dumps(body).count("What is it?") == 1


@pytest.mark.parametrize("provider", TAKES)
def test_attachments_come_once_before_the_first_text_of_the_user(provider: str) -> None:
    turns = body_of(provider, PNG, PNG, messages=TURNS)["messages"]
    assert [turn["role"] for turn in turns] == ["assistant", "user", "assistant", "user"]
    assert [turns[at]["content"] for at in (0, 2, 3)] == ["Hm?", "A", "Go"]
    if provider == "ollama":
        assert turns[1]["content"] == "What is it?"
        assert [base64.b64decode(one) for one in turns[1]["images"]] == [PNG, PNG]
    else:
        *media, text = turns[1]["content"]
        assert text == {"type": "text", "text": "What is it?"}
        assert len(media) == 2
        assert media[0] == media[1]


def first_part(provider: str, source: Any) -> dict[str, Any]:
    part: dict[str, Any] = body_of(provider, source)["messages"][0]["content"][0]
    return part


def test_images_of_openai_are_sent_in_high_detail() -> None:
    encoded = base64.b64encode(PNG).decode()
    url = {"url": f"data:image/png;base64,{encoded}", "detail": "high"}
    assert first_part("openai", PNG) == {"type": "image_url", "image_url": url}
    assert first_part("openai", PICTURE_URL)["image_url"] == {"url": PICTURE_URL, "detail": "high"}
    assert first_part("together", PICTURE_URL)["image_url"] == {"url": PICTURE_URL}


def test_documents_have_their_name_and_the_form_of_the_provider() -> None:
    encoded = base64.b64encode(PDF).decode()
    data = f"data:application/pdf;base64,{encoded}"
    assert first_part("openai", PDF) == {"type": "file", "file": {"filename": "attachment 1.pdf", "file_data": data}}
    assert first_part("mistral", PDF) == {
        "type": "document_url",
        "document_url": data,
        "document_name": "attachment 1",
    }
    assert first_part("mistral", PDF_URL)["document_url"] == PDF_URL
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded}
    assert first_part("anthropic", PDF) == {"type": "document", "source": source, "title": "attachment 1"}
    assert first_part("anthropic", PDF_URL)["source"] == {"type": "url", "url": PDF_URL}
    assert first_part("anthropic", JPEG)["source"]["media_type"] == "image/jpeg"


def test_text_is_in_the_messages_and_not_sent_again() -> None:
    for provider in TAKES:
        assert body_of(provider, b"a text") == body_of(provider)


def test_the_window_asked_of_ollama_has_room_for_images() -> None:
    model = ModelConfig("ollama", "m", "m", context_window=131_072)
    windows = [context_for(prompt(*[PNG] * number), model) for number in (0, 1, 4)]
    assert windows[0] < windows[1] < windows[2]


def test_a_count_of_an_image_that_meets_the_window_of_ollama_may_be_a_cut() -> None:
    messages = [{"role": "user", "content": "Go", "images": ["aaaa"]}]
    body = json.dumps({"messages": messages, "options": {"num_ctx": 4_096}}).encode()
    request = HTTPRequest("POST", "http://127.0.0.1/api/chat", {}, body)
    assert cut_of(request, Usage(input_tokens=4_090)) is not None
    assert cut_of(request, Usage(input_tokens=900)) is None


def recorded() -> list[Any]:
    if not (corpus.WIRE / "corpus_answers").is_dir():
        return []
    items = [json.loads(path.read_text("utf-8")) for path in sorted((corpus.WIRE / "corpus_answers").glob("*/*.json"))]
    return [
        pytest.param(item, id=f"{item['provider']}-{item['id']}")
        for item in items
        if any(feature.startswith("attach") for feature in item["features"])
    ]


@corpus.needs_corpus
@pytest.mark.parametrize("item", recorded())
def test_a_recorded_answer_about_an_attachment_is_read(item: corpus.Item) -> None:
    expect, provider = item["expect"], provider_of(item)
    if item["response"]["status"] != 200:
        error = provider.parse_error(item["response"]["status"], corpus.headers(item), corpus.body(item))
        assert type(error) is corpus.error_class(item)
        return
    if item["streaming"]:
        text, completion = read_stream(provider.open_stream(), [corpus.body(item)])
        assert text == expect["text"]
    else:
        completion = provider.parse_completion(corpus.body(item))
    assert completion.text == expect["text"]
    assert completion.usage.input_tokens == expect["prompt_tokens"]
    assert completion.usage.output_tokens == expect["completion_tokens"]
