"""Small models, prompts and answers that the tests of this folder share."""

from __future__ import annotations

import json
from typing import Any

from llmroute.providers import Endpoint, Provider, connect
from llmroute.types import Message, ModelConfig, ParameterLimits, Prompt

KEY = "k-0123456789abcdef"


def provider(name: str, base_url: str | None = None) -> Provider:
    return connect(name, Endpoint(api_key=KEY, base_url=base_url))


def prompt(text: str = "Say hello.", **said: Any) -> Prompt:
    return Prompt((Message("user", text),), **said)


def model(provider: str = "openai", api_name: str = "a-model", window: int | None = None, **limits: Any) -> ModelConfig:
    return ModelConfig(provider, api_name, api_name, context_window=window, parameters=ParameterLimits(**limits))


def sent(name: str, prompt: Prompt, model: ModelConfig, base_url: str | None = None) -> dict[str, Any]:
    """Return the body that goes out."""
    request = provider(name, base_url).render_request(prompt, model)
    assert request.body is not None
    body: dict[str, Any] = json.loads(request.body)
    return body


def chat_answer(**message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return json.dumps({"id": "c-1", "model": "m", "choices": [choice]}).encode()


def chat_chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **rest: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: " + json.dumps({"id": "c-1", "model": "m", "choices": choices} | rest).encode() + b"\n\n"


def event(kind: str, **body: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | body)}\n\n".encode()
