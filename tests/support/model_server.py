"""A loopback server that speaks the chat-completions format: what it says, and how slowly, is up to the test."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.support.background import serve_in_background

if TYPE_CHECKING:
    from types import TracebackType

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@dataclass
class ModelServer:
    """Answers each request with `words`; a streamed answer waits `pause_s` before each word."""

    words: tuple[str, ...] = ("one ", "two ", "three")
    pause_s: float = 0.0
    finish_reason: str = "stop"
    usage: dict[str, int] = field(default_factory=lambda: dict(USAGE))
    requests: list[dict[str, Any]] = field(default_factory=list)
    # How many connections were ever taken, how many are open, and how many were at once.
    connections: int = 0
    open_connections: int = 0
    most_connections: int = 0

    def __enter__(self) -> Self:
        told = self
        counting = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with counting:
                    told.connections += 1
                    told.open_connections += 1
                    told.most_connections = max(told.most_connections, told.open_connections)
                super().handle()
                with counting:
                    told.open_connections -= 1

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                told.requests.append(body)
                told.answer(self, body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        serve_in_background(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment that points the OpenAI provider here."""
        return {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.server.server_address[1]}/v1",
            "OPENAI_API_KEY": "sk-test-0123456789",
        }

    def words_for(self, _body: dict[str, Any]) -> tuple[str, ...]:
        """Return the words of the answer to one of several concurrent requests."""
        return self.words

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
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


def _send(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
    handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
