"""An answer is data: a mapping to whatever serialises it, and a value to whatever compares or keeps it."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, TypeAdapter

from llmroute.cli.output.tables import response_as_json
from llmroute.types import AttemptRecord, LLMResponse, Usage
from tests.support.fault_server import reply, serving
from tests.support.provider_servers import OPENAI, House, openai_answer

if TYPE_CHECKING:
    from pathlib import Path


def thought_through() -> bytes:
    """Return an answer with thoughts and a call of a tool beside its text."""
    message = {
        "role": "assistant",
        "content": "Hello!",
        "reasoning_content": "They greet.",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "wave", "arguments": "{}"}}],
    }
    body = {"id": "x", "model": "gpt-4.1-mini", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return reply(200, json.dumps(body | {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}).encode())


def test_an_answer_is_a_mapping_to_json_dataclasses_and_pydantic(tmp_path: Path) -> None:
    async def main(house: House) -> LLMResponse:
        async with house.service() as service:
            return await service.generate("hi", model=OPENAI)

    with serving([thought_through()]) as server:
        answer = asyncio.run(main(House(tmp_path, openai=server)))
    assert (answer.thinking, answer.tool_calls, answer.refusal) == ("They greet.", ("wave",), None)
    told = answer.as_dict()
    assert json.loads(json.dumps(answer, default=lambda value: value.as_dict())) == json.loads(json.dumps(told)) == told
    assert TypeAdapter(LLMResponse).dump_python(answer, mode="json") == told

    class Reply(BaseModel):
        answer: LLMResponse
        usage: Usage

    wrapped = Reply(answer=answer, usage=answer.usage)
    assert json.loads(wrapped.model_dump_json()) == {"answer": told, "usage": answer.usage.as_dict()}
    assert Reply.model_validate_json(wrapped.model_dump_json()) == wrapped
    assert dataclasses.asdict(answer)["attempts"][0] == told["attempts"][0] == answer.attempts[0].as_dict()
    shown = response_as_json(answer)
    assert shown.pop("id") == told["request_id"]
    assert shown.pop("usage").items() <= told["usage"].items()
    assert shown.items() <= told.items()


def test_an_answer_is_a_value(tmp_path: Path) -> None:
    async def main(house: House) -> LLMResponse:
        async with house.service() as service:
            return await service.generate("hi", model=OPENAI)

    with serving([openai_answer()]) as server:
        answer = asyncio.run(main(House(tmp_path, openai=server)))
    written = eval(repr(answer), {each.__name__: each for each in (LLMResponse, Usage, AttemptRecord)})
    for same in (copy.copy(answer), copy.deepcopy(answer), pickle.loads(pickle.dumps(answer)), written):
        assert (same, hash(same)) == (answer, hash(answer))
    assert dataclasses.replace(answer, content="another") != answer
    assert answer != dataclasses.asdict(answer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.content = "another"  # type: ignore[misc]
    assert not hasattr(answer, "__dict__")
