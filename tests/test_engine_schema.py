"""Schemas on the real engine, which compiles them to a grammar that its answers cannot leave."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmroute.planning.local.engine import EngineFiles
from llmroute.providers import Endpoint, builtin
from llmroute.schema.answer_schema import read_schema
from llmroute.schema.document import AnswerDocument, read_document
from llmroute.schema.vendor_forms import form_for
from llmroute.types import Message, ModelConfig, Prompt

MODEL = ModelConfig("builtin", "smollm2-135m", "SmolLM2-135M-Instruct")


def answer(schema: Any, question: str = "Why is the sky blue?") -> str:
    prompt = Prompt((Message("user", question),), temperature=0.0, max_tokens=100, schema=read_schema(schema))
    running = EngineFiles().engine()
    provider = builtin.connect(Endpoint(running.key, running.base_url))
    request = provider.render_request(prompt, MODEL)
    # The instruction alone would not make a model of this size obey.
    response = httpx.post(request.url, content=request.body, headers=request.headers, timeout=120)
    assert response.status_code == 200, response.text
    return provider.parse_completion(response.content).text


def document(schema: Any) -> Any:
    found = read_schema(schema)
    read = read_document(answer(schema), found, form_for(found, MODEL))
    assert isinstance(read, AnswerDocument), read
    return read.value


@pytest.mark.parametrize(
    "schema",
    [
        "name, age int, tall bool",
        {"enum": ["yes", "no"]},
        {"type": "object", "properties": {"a": {"const": 3}}, "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 9}, "minItems": 2, "maxItems": 3},
        {
            "type": "object",
            "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]$"}},
            "required": ["code"],
        },
        {
            "type": "object",
            "properties": {"x": True, "y": {"$ref": "#/$defs/a%20b"}},
            "required": ["y"],
            "$defs": {"a b": {"type": "null"}},
        },
    ],
)
def test_the_engine_cannot_answer_with_anything_else(schema: Any) -> None:
    document(schema)


def test_the_engine_compiles_a_reference_to_the_whole() -> None:
    schema = {
        "anyOf": [{"type": "null"}, {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}]
    }
    assert answer(schema).lstrip().startswith(("{", "null"))
