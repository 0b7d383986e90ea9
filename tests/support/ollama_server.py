"""A loopback server that speaks Ollama's own API as far as it is called: version, tags, show and chat."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from tests.support.local_server import Handler, LocalServer


@dataclass(frozen=True)
class Pulled:
    """A model that is there: its window, its own settings, and where it is passed on to, if anywhere.

    `bytes_per_token` is what its tokenizer makes of any text; `digest` changes when the model is made anew.
    """

    window: int = 8192
    remote_host: str | None = None
    bytes_per_token: float = 4
    parameters: str = ""
    capabilities: tuple[str, ...] = ("completion",)
    digest: str = "0" * 64


@dataclass
class OllamaServer(LocalServer):
    """Answers with `words`, after `load_s` seconds without a byte; a prompt beyond `num_ctx` is cut unasked.

    `show` and `tags` are replies of its own to /api/show and /api/tags: status and body.  A model does not load with a
    window above `most_window`.
    """

    models: dict[str, Pulled] = field(default_factory=lambda: {"llama3.1:latest": Pulled()})
    words: tuple[str, ...] = ("Blue ", "light ", "scatters.")
    load_s: float = 0.0
    show: tuple[int, bytes] | None = None
    tags: tuple[int, bytes] | None = None
    most_window: int | None = None
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the requests for an answer."""
        return [body for path, body in self.requests if path == "/api/chat"]

    @property
    def shows(self) -> list[str]:
        """The models whose limits were asked for."""
        return [body["model"] for path, body in self.requests if path == "/api/show"]

    @property
    def windows(self) -> list[int]:
        """The windows that answers were asked for in."""
        return [chat["options"]["num_ctx"] for chat in self.chats]

    def serve(self, handler: Handler) -> None:
        self.answer(handler, json.loads(handler.body() or b"{}"))

    def answer(self, handler: Handler, body: dict[str, Any]) -> None:
        self.requests.append((handler.path, body))
        if handler.path == "/api/version":
            _send(handler, 200, {"version": "0.12.0"})
        elif handler.path == "/api/tags" and self.tags is not None:
            _send_bytes(handler, *self.tags)
        elif handler.path == "/api/tags":
            _send(handler, 200, {"models": [self._row(name, model) for name, model in self.models.items()]})
        elif handler.path == "/api/show" and self.show is not None:
            _send_bytes(handler, *self.show)
        elif (model := self._find(body.get("model", ""))) is None:
            _send(handler, 404, {"error": f"model '{body.get('model')}' not found"})
        elif handler.path == "/api/show":
            facts = {"general.architecture": "llama", "llama.context_length": model.window}
            told = {"model_info": facts, "capabilities": list(model.capabilities), "parameters": model.parameters}
            _send(handler, 200, told)
        else:
            self._chat(handler, body, model)

    def _find(self, name: str) -> Pulled | None:
        return self.models.get(name if ":" in name else f"{name}:latest")

    def _row(self, name: str, model: Pulled) -> dict[str, Any]:
        row = {
            "name": name,
            "model": name,
            "size": 4_000_000_000,
            "digest": model.digest,
            "details": {"family": "llama"},
        }
        return row | ({"remote_host": model.remote_host, "remote_model": name} if model.remote_host else {})

    def _chat(self, handler: Handler, body: dict[str, Any], model: Pulled) -> None:
        time.sleep(self.load_s)
        size = sum(len(message["content"].encode()) for message in body["messages"])
        if self.most_window is not None and body["options"]["num_ctx"] > self.most_window:
            _send(handler, 500, {"error": "model requires more system memory (9 GiB) than is available (4 GiB)"})
            return
        window = min(body["options"]["num_ctx"], model.window)
        head = {"model": body["model"], "created_at": "2026-01-02T03:04:05Z"}
        end = {
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": min(int(size / model.bytes_per_token), window),
            "eval_count": len(self.words),
        }
        if not body["stream"]:
            message = {"role": "assistant", "content": "".join(self.words)}
            _send(handler, 200, head | {"message": message} | end)
            return
        handler.send_response(200)
        handler.send_header("content-type", "application/x-ndjson")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        lines = [head | {"message": {"role": "assistant", "content": word}, "done": False} for word in self.words]
        for line in [*lines, head | {"message": {"role": "assistant", "content": ""}} | end]:
            data = json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        handler.wfile.write(b"0\r\n\r\n")


def _send(handler: Handler, status: int, body: dict[str, Any]) -> None:
    _send_bytes(handler, status, json.dumps(body).encode())


def _send_bytes(handler: Handler, status: int, data: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-type", "application/json; charset=utf-8")
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
