"""A provider that refuses what llmroute made of a schema, or a repair: the next model is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.registry import ModelRegistry
from llmroute.schema.answer_schema import schema_of_text
from tests.support.fault_server import reply
from tests.support.wire_formats import MODEL, answer, town, whole
from tests.wire.calling import call, config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fault_server import Script

DOCUMENT = '{"a":"x","b":"y"}'
REFUSALS = {
    "openai": {
        "message": "Invalid schema for response_format 'answer': too large",
        "type": "invalid_request_error",
        "param": "response_format",
        "code": None,
    },
    "anthropic": {"message": "output_format.schema: Schema is too complex.", "type": "invalid_request_error"},
}


def refusal(name: str) -> Script:
    body: dict[str, Any] = {"error": REFUSALS[name]}
    return [reply(400, json.dumps({"type": "error", **body} if name == "anthropic" else body).encode())]


def outcome_of(serve: Any, first: str, home: Path) -> Any:
    with town(serve) as here:
        return call(
            config(home, here.urls),
            ModelRegistry(),
            streaming=False,
            awaiting=False,
            label="hi",
            model=MODEL[first],
            fallback=[MODEL["mistral"]],
            enable_fallback=True,
            schema=schema_of_text("a, b").document,
        )


@pytest.mark.parametrize("name", REFUSALS)
def test_a_form_that_a_provider_refuses_is_followed_by_the_next_model(name: str, tmp_path: Path) -> None:
    def serve(asked: str, _body: dict[str, Any]) -> Script:
        return refusal(name) if asked == name else answer(asked, DOCUMENT, streaming=False)

    outcome = outcome_of(serve, name, tmp_path)
    assert outcome.response is not None, outcome.error
    assert outcome.response.content == DOCUMENT
    assert [row["provider"] for row in outcome.rows] == [name, "mistral"]


def test_a_repair_that_a_provider_refuses_is_followed_by_the_next_model(tmp_path: Path) -> None:
    calls: list[str] = []

    def serve(asked: str, _body: dict[str, Any]) -> Script:
        calls.append(asked)
        if asked != "openai":
            return answer(asked, DOCUMENT, streaming=False)
        return whole(asked, "{}") if calls == ["openai"] else [reply(400, b'{"error":{"message":"no","type":"t"}}')]

    outcome = outcome_of(serve, "openai", tmp_path)
    assert outcome.response is not None, outcome.error
    assert outcome.response.content == DOCUMENT
    assert calls == ["openai", "openai", "mistral"]
