"""The five providers on loopback: their lists of models, whole and streamed answers, and failures on demand."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.fault_server import chunk, chunked_head, reply, serving
from tests.support.wire_formats import FORMATS, answer, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fault_server import FaultServer, Received, Script

KEY = "sk-test-0123456789"
ANSWER = "Certainly: 42."
LISTS: dict[str, Any] = {
    "openai": {"object": "list", "data": [{"id": "gpt-5.4-mini", "object": "model"}]},
    "anthropic": {"data": [{"type": "model", "id": "claude-haiku-4-5"}], "has_more": False},
    "mistral": {"data": [{"id": "mistral-large-4", "capabilities": {"completion_chat": True}}]},
    "together": [{"id": "openai/gpt-oss-120b", "type": "chat"}],
}
PULLED = ("mistral:latest", "llama2:latest", "codellama:latest")
_SHOWN = {"model_info": {"general.architecture": "llama", "llama.context_length": 32_768}}
_PULL = (b'{"status": "pulling manifest"}\n', b'{"status": "success"}\n')


@dataclass(frozen=True)
class Asked:
    """One request for an answer."""

    provider: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Providers:
    """What was asked in order, which provider fails with which status, and how the first request fails if it does."""

    asked: list[Asked] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    first: int | None = None
    servers: dict[str, FaultServer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget what was asked; every provider answers."""
        with self._lock:
            self.asked.clear()
            self.failing.clear()
            self.first = None

    @property
    def settings(self) -> dict[str, str]:
        """The environment that points every provider here."""
        addresses = {f"{name.upper()}_BASE_URL": server.url for name, server in self.servers.items()}
        keys = {f"{name.upper()}_API_KEY": KEY for name in self.servers if name != "ollama"}
        return {**addresses, **keys}

    def bodies(self, provider: str | None = None) -> list[dict[str, Any]]:
        """What was sent, to one provider or to all."""
        with self._lock:
            return [each.body for each in self.asked if provider in (None, each.provider)]

    def serve(self, name: str) -> Callable[[Received], Script]:
        def respond(received: Received) -> Script:
            if (status := self.failing.get(name)) is not None:
                return error(name, status, f"told {status}")
            if received.line.startswith("GET "):
                return [reply(200, json.dumps(_list(name)).encode())]
            if received.path == "/api/show":
                return [reply(200, json.dumps(_SHOWN).encode())]
            if received.path == "/api/pull":
                return [chunked_head(content_type="application/x-ndjson"), *map(chunk, _PULL), chunk(b"")]
            body = json.loads(received.body)
            with self._lock:
                self.asked.append(Asked(name, received.headers, body))
                status, self.first = self.first, None
            if status is not None:
                return error(name, status, f"told {status}")
            return answer(name, ANSWER, streaming=bool(body.get("stream")))

        return respond


def _list(name: str) -> Any:
    if name == "ollama":
        return {"models": [{"name": model, "model": model} for model in PULLED]}
    return LISTS[name]


@contextmanager
def providers() -> Iterator[Providers]:
    """Run the five."""
    with ExitStack() as stack:
        running = Providers()
        for name in FORMATS:
            running.servers[name] = stack.enter_context(serving(running.serve(name)))
        yield running
