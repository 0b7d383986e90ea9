"""Attachments of the library: paths, bytes and Attachments, by blocking, awaiting and in bulk."""

from __future__ import annotations

import asyncio
import json
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

import pytest

import llmroute
from llmroute.errors import RequestError
from llmroute.request.options import Options
from llmroute.request.rendered import prompt_of
from tests.support.attached_files import pdf, png
from tests.support.fault_server import serving
from tests.support.provider_servers import ANTHROPIC, OPENAI, House, anthropic_answer, openai_answer, openai_error

if TYPE_CHECKING:
    from pathlib import Path


def parts(received: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(received.body)["messages"][0]["content"]
    return found


def test_each_way_to_call_takes_each_form(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    own = llmroute.Attachment(data=b"a,b\n", media_type="text/csv", name='t"1.csv')
    with serving([openai_answer()] * 3) as server:
        service = House(tmp_path, openai=server).service()
        asked: Any = {"model": OPENAI, "attachments": [tmp_path / "a.png", png(), own], "enable_fallback": False}

        async def awaited() -> llmroute.LLMResponse:
            async with service:
                [each async for each in service.generate_many([{"prompt": "Go", **asked}])]
                response: llmroute.LLMResponse = await service.generate("Go", **asked)
                return response

        service.generate_sync("Go", **asked)
        first = asyncio.run(awaited())
        service.close()
    assert [one.name for one in first.attachments] == ["a.png", "attachment 2", 't"1.csv']
    assert first.as_dict()["attachments"][0]["media_type"] == "image/png"
    for received in server.received:
        *media, text = parts(received)
        assert len(media) == 2
        assert text["text"] == '<attachment name="t&quot;1.csv">\na,b\n</attachment>\n\nGo'


def test_content_is_encoded_once_for_all_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def counted(data: bytes, **how: Any) -> bytes:
        encoded.append(len(data))
        return b2a_base64(data, **how)

    monkeypatch.setattr("llmroute.types.attachment.b2a_base64", counted)
    with serving([openai_error(500)]) as first, serving([anthropic_answer()]) as second:
        service = House(tmp_path, openai=first, anthropic=second).service()
        response = service.generate_sync("Go", model=OPENAI, fallback=[ANTHROPIC], attachments=[png()])
        service.close()
    assert response.provider == "anthropic"
    assert parts(second.received[0])[0]["source"]["media_type"] == "image/png"
    assert encoded == [len(png())]


def test_an_answer_without_usage_is_billed_with_the_tokens_of_the_attachments(tmp_path: Path) -> None:
    with serving([openai_answer(usage=False)] * 2) as server:
        service = House(tmp_path, openai=server).service()
        plain = service.generate_sync("Go", model=OPENAI)
        seen = service.generate_sync("Go", model=OPENAI, attachments=[png(540, 360)])
        service.close()
    assert (plain.usage.source, seen.usage.source) == ("estimated", "estimated")
    assert (seen.usage.input_tokens or 0) - (plain.usage.input_tokens or 0) == 331


def test_models_that_do_not_take_the_attachments_are_not_called(tmp_path: Path) -> None:
    with serving([openai_answer()]) as openai, serving([anthropic_answer()]) as anthropic:
        service = House(tmp_path, openai=openai, anthropic=anthropic).service()
        address = "https://a.example/report.pdf"
        response = service.generate_sync("Go", fallback=[OPENAI, ANTHROPIC], attachments=[address])
        service.close()
    assert response.provider == "anthropic"
    assert openai.received == []
    assert [one.reason for one in response.skipped] == [f"does not fetch PDFs: download {address} and attach the file"]


def test_attachments_are_put_before_the_first_message_of_the_user() -> None:
    turns = [{"role": "assistant", "content": "A"}, {"role": "user", "content": "B"}, {"role": "user", "content": "C"}]
    prompt = prompt_of(Options(messages=turns, attachments=[b"T\n", pdf()]), streaming=False)
    assert [message.content for message in prompt.messages] == [
        "A",
        '<attachment name="attachment 1">\nT\n</attachment>\n\nB',
        "C",
    ]
    assert [one.facts.kind for one in prompt.attachments] == ["text", "pdf"]
    assert [one.facts.kind for one in prompt.media] == ["pdf"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"prompt": "x", "attachments": "a.png"}, "attachments: 'a.png' is not a list of paths"),
        ({"prompt": "x", "attachments": [3]}, "attachments: [3] is not a list of paths"),
        ({"attachments": [png()]}, "the prompt is empty"),
        ({"messages": [{"role": "assistant", "content": "A"}], "attachments": [png()]}, "need a message of the user"),
        ({"prompt": "x", "attachment_type": "nothing"}, "attachment_type: 'nothing' is not one of"),
    ],
)
def test_what_cannot_be_attached_is_refused(asked: dict[str, Any], problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        prompt_of(Options(**asked), streaming=False)
    assert problem in caught.value.message


def test_an_iterator_of_attachments_is_read_once() -> None:
    options = Options(prompt="x", attachments=iter([png()]))  # type: ignore[arg-type]
    for _ in range(2):
        assert len(prompt_of(options, streaming=False).attachments) == 1
