"""A loopback server that keeps each request as it came and gives the answer that it was told to give."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.providers.samples import chat_answer, chat_chunk, event
from tests.support.local_server import Handler, LocalServer

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "mistral": "/v1/chat/completions",
    "together": "/v1/chat/completions",
    "ollama": "/api/chat",
}


@dataclass(frozen=True)
class Request:
    """One request as it came; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def asked(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder(LocalServer):
    """Answers a request for an answer with `status`, `headers` and `body`; None is an answer of the provider's kind."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    requests: list[Request] = field(default_factory=list)

    @property
    def asked(self) -> list[Request]:
        """The requests for an answer; what is asked of Ollama before is apart."""
        return [request for request in self.requests if request.path in PATHS.values()]

    def serve(self, handler: Handler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        _send(handler, *self._reply(Request(handler.command, handler.path, headers, handler.body())))

    def respond(self, request: httpx.Request) -> httpx.Response:
        """Answer in place of a transport of httpx."""
        headers = dict(request.headers.items())
        status, told, body = self._reply(Request(request.method, request.url.path, headers, request.content))
        return httpx.Response(status, headers=told, content=body)

    def _reply(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        if request.path == "/api/tags":
            return 200, {}, b'{"models":[{"name":"llama3.1:latest"}]}'
        if request.path == "/api/show":
            return 200, {}, b'{"model_info":{"llama.context_length":8192}}'
        spoken = answer_of(request.path, streaming=request.asked.get("stream") is True)
        return self.status, self.headers, spoken if self.body is None else self.body


def answer_of(path: str, *, streaming: bool) -> bytes:
    """Return an answer of one word in the form of the provider that is called at `path`."""
    if path == "/api/chat":
        said = {"role": "assistant", "content": "Hello"}
        return json.dumps({"model": "m", "message": said, "done": True, "done_reason": "stop"}).encode() + b"\n"
    if path == "/v1/messages":
        text, usage = {"type": "text", "text": "Hello"}, {"input_tokens": 3, "output_tokens": 1}
        message: dict[str, Any] = {"id": "m-1", "type": "message", "role": "assistant", "model": "m", "usage": usage}
        if not streaming:
            return json.dumps(message | {"content": [text], "stop_reason": "end_turn"}).encode()
        return (
            event("message_start", message=message | {"content": []})
            + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
            + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
            + event("message_stop")
        )
    if not streaming:
        return chat_answer(content="Hello")
    return chat_chunk({"content": "Hello"}) + chat_chunk({}, "stop") + b"data: [DONE]\n\n"


def _send(handler: Handler, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
