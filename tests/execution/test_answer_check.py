"""The check of an answer against a schema runs beside the event loop."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import LLMRouteError
from llmroute.schema import document as documents
from tests.support.fault_server import reply, serving
from tests.support.provider_servers import OPENAI, House

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.schema.document import AnswerDocument, SchemaErrors

HOSTILE = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|a)*b?c?$"}}, "required": ["a"]}


def test_the_event_loop_goes_on_during_a_check_that_takes_exponential_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, during = 0, []
    read = documents.read_document

    def observed(*arguments: Any) -> AnswerDocument | SchemaErrors:
        before = turns
        found = read(*arguments)
        during.append(turns - before)
        return found

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async def ask() -> None:
        async with house.service() as llm:
            turning = asyncio.create_task(turn())
            with pytest.raises(LLMRouteError, match="could not be checked within"):
                await llm.generate("hi", model=OPENAI, enable_fallback=False, schema=HOSTILE)
            turning.cancel()

    monkeypatch.setattr(documents, "VALIDATION_S", 0.2)
    monkeypatch.setattr(documents, "read_document", observed)
    message = {"content": json.dumps({"a": "a" * 60 + "!"})}
    usage = {"prompt_tokens": 7, "completion_tokens": 30}
    answer = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    with serving([reply(200, json.dumps(answer).encode())]) as server:
        house = House(tmp_path, openai=server)
        asyncio.run(ask())
    # The answer, and its repair.
    assert len(during) == 2
    assert min(during) > 0
