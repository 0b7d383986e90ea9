"""A loopback server that speaks the chat-completions format: what it says, and how slowly, is up to the test."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

from tests.support.local_server import Handler, LocalServer
from tests.support.waiting import PATIENCE_S

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class _Counting(Handler):
    owner: ModelServer

    def handle(self) -> None:
        told = self.owner
        with told.counting:
            told.connections += 1
            told.open_connections += 1
            told.most_connections = max(told.most_connections, told.open_connections)
        super().handle()
        with told.counting:
            told.open_connections -= 1


@dataclass
class ModelServer(LocalServer):
    """Answers each request with `words` when it may; a streamed answer waits `pause_s` before each word."""

    words: tuple[str, ...] = ("one ", "two ", "three")
    pause_s: float = 0.0
    may_answer: threading.Event = field(default_factory=threading.Event)
    finish_reason: str = "stop"
    usage: dict[str, int] = field(default_factory=lambda: dict(USAGE))
    requests: list[dict[str, Any]] = field(default_factory=list)
    # How many connections were ever taken, how many are open, and how many were at once.
    connections: int = 0
    open_connections: int = 0
    most_connections: int = 0

    handler = _Counting
    counting: ClassVar = threading.Lock()

    def __post_init__(self) -> None:
        self.may_answer.set()

    @property
    def settings(self) -> dict[str, str]:
        """The environment that points the OpenAI provider here."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "sk-test-0123456789",
        }

    def serve(self, handler: Handler) -> None:
        if handler.command == "GET":
            handler.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return
        body = json.loads(handler.body())
        self.requests.append(body)
        self.may_answer.wait(PATIENCE_S)
        self.answer(handler, body)

    def words_for(self, _body: dict[str, Any]) -> tuple[str, ...]:
        """Return the words of the answer to one of several concurrent requests."""
        return self.words

    def answer(self, handler: Handler, body: dict[str, Any]) -> None:
        words = self.words_for(body)
        head = {"id": "chatcmpl-1", "model": body["model"], "created": 1}
        if not body.get("stream"):
            time.sleep(self.pause_s)
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
            data = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": self.usage}).encode()
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.close_connection = True
        try:
            for word in words:
                time.sleep(self.pause_s)
                _send(handler, {**head, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            _send(handler, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish_reason}]})
            _send(handler, {**head, "choices": [], "usage": self.usage})
            handler.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            return


def _send(handler: Handler, event: dict[str, Any]) -> None:
    handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
