"""The five wire formats, said the same way: whole answers, streams and their pieces, errors; and all five served."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from llmroute.ledger.sqlite.store import Ledger
from tests.support.fault_server import chunk, chunked_head, reply, serving
from tests.support.waiting import patient_with_the_local_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.fault_server import FaultServer, Received, Script

FORMATS = ("openai", "anthropic", "mistral", "together", "ollama")
MODEL = {
    "openai": "openai/gpt-5.4-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "mistral": "mistral/mistral-small-2603",
    "together": "together/openai/gpt-oss-120b",
    "ollama": "ollama/llama3.2",
}
# Who stands in: another provider, with a larger window.
BACKUP = {name: "openai/gpt-6-luna" if name == "mistral" else "mistral/mistral-large-4" for name in FORMATS}
INPUT_TOKENS, OUTPUT_TOKENS = 10, 5


def provider_of(model: str) -> str:
    return model.partition("/")[0]


def _pack(name: str, event: str, data: dict[str, Any]) -> bytes:
    told = json.dumps(data)
    if name == "ollama":
        return chunk(f"{told}\n".encode())
    return chunk((f"event: {event}\n" if name == "anthropic" else "").encode() + f"data: {told}\n\n".encode())


def head(name: str) -> bytes:
    """Return the head of a stream."""
    return chunked_head(content_type="application/x-ndjson" if name == "ollama" else "text/event-stream")


def opening(name: str) -> bytes:
    """Return what comes in a stream before the first text."""
    if name == "anthropic":
        message = {"id": "msg_1", "model": "m", "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        started = _pack(name, "message_start", {"type": "message_start", "message": message})
        return started + _pack(name, "content_block_start", block)
    if name == "ollama":
        return _pack(name, "", {"model": "m", "message": {"role": "assistant", "content": ""}, "done": False})
    return _pack(name, "", {"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})


def piece(name: str, text: str) -> bytes:
    """Return a piece of text of a stream."""
    if name == "anthropic":
        delta = {"type": "text_delta", "text": text}
        return _pack(name, "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})
    if name == "ollama":
        return _pack(name, "", {"model": "m", "message": {"role": "assistant", "content": text}, "done": False})
    return _pack(name, "", {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}]})


def closing(name: str, finish: str = "stop") -> bytes:
    """Return the end of a stream, its usage and its terminator."""
    if name == "anthropic":
        told = {"stop_reason": {"stop": "end_turn", "content_filter": "refusal"}[finish]}
        delta = {"type": "message_delta", "delta": told, "usage": {"output_tokens": OUTPUT_TOKENS}}
        return _pack(name, "message_delta", delta) + _pack(name, "message_stop", {"type": "message_stop"}) + chunk(b"")
    if name == "ollama":
        return (
            _pack(name, "", {"model": "m", "message": {"content": ""}, "done": True, "done_reason": finish, **_COUNTS})
            + chunk(b"")
        )  # fmt: skip
    end = {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": _USAGE}
    return _pack(name, "", end) + chunk(b"data: [DONE]\n\n") + chunk(b"")


_COUNTS = {"prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS}
_USAGE = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}


def in_band(name: str, message: str = "overloaded") -> bytes:
    """Return an error inside a stream."""
    if name == "ollama":
        return _pack(name, "", {"error": message})
    body = {"type": "error", "error": {"type": "overloaded_error", "code": "server_error", "message": message}}
    return _pack(name, "error", body)


def whole(name: str, text: str, finish: str = "stop") -> Script:
    """Return a whole answer."""
    body: dict[str, Any]
    if name == "anthropic":
        stop = {"stop": "end_turn", "content_filter": "refusal", "length": "max_tokens"}[finish]
        usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
        content = [{"type": "text", "text": text}]
        body = {"id": "m1", "type": "message", "content": content, "stop_reason": stop, "usage": usage}
    elif name == "ollama":
        body = {"model": "m", "message": {"content": text}, "done": True, "done_reason": finish, **_COUNTS}
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        body = {"id": "c1", "model": "m", "choices": [choice], "usage": _USAGE}
    return [reply(200, json.dumps(body).encode())]


def streamed(name: str, *pieces: str, finish: str = "stop") -> Script:
    """Return a whole streamed answer."""
    return [head(name), opening(name), *(piece(name, text) for text in pieces), closing(name, finish)]


def answer(name: str, text: str, *, streaming: bool) -> Script:
    """Return an answer in the form that was asked for."""
    return streamed(name, text[: len(text) // 2], text[len(text) // 2 :]) if streaming else whole(name, text)


def error(name: str, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> Script:
    """Return an error in the provider's own form."""
    body: dict[str, Any]
    if name == "ollama":
        body = {"error": message}
    elif name == "anthropic":
        body = {"type": "error", "error": {"type": code or "invalid_request_error", "message": message}}
    elif name == "mistral":
        body = {"object": "error", "message": message, "type": code or "invalid_request_error", "code": None}
    else:
        body = {"error": {"message": message, "type": "invalid_request_error", "code": code or None, "param": None}}
    return [reply(status, json.dumps(body).encode(), headers=headers)]


def new_home(folder: Path) -> Path:
    """Return a home with an empty ledger, made by copying: to make eight hundred takes a while."""
    folder.mkdir(parents=True)
    template = folder.parent / "template.db"
    if not template.exists():
        Ledger(template).close()
    copyfile(template, folder / "ledger.db")
    return folder


@dataclass
class Town:
    """A server for each of the five providers; how they answer is up to the test.

    `behave` is told who is asked and the body of the request.  `asked` has the bodies in the order in which they came.
    """

    behave: Callable[[str, dict[str, Any]], Script]
    servers: dict[str, FaultServer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def urls(self) -> dict[str, str]:
        return {name: server.url for name, server in self.servers.items()}

    def bodies(self, name: str) -> list[dict[str, Any]]:
        """Return what one provider was asked."""
        with self._lock:
            return [body for who, body in self.asked if who == name]

    def forget(self) -> None:
        with self._lock:
            self.asked.clear()

    def serve(self, name: str) -> Callable[[Received], Script]:
        def respond(received: Received) -> Script:
            if received.path == "/api/tags":
                return [reply(200, json.dumps({"models": [{"name": "llama3.2:latest"}]}).encode())]
            if received.path == "/api/show":
                facts = {"general.architecture": "llama", "llama.context_length": 131_072}
                return [reply(200, json.dumps({"model_info": facts}).encode())]
            body = json.loads(received.body)
            with self._lock:
                self.asked.append((name, body))
            return self.behave(name, body)

        return respond


@contextmanager
def town(behave: Callable[[str, dict[str, Any]], Script]) -> Iterator[Town]:
    """Run the five."""
    with ExitStack() as stack:
        stack.enter_context(patient_with_the_local_server())
        made = Town(behave)
        for name in FORMATS:
            made.servers[name] = stack.enter_context(serving(made.serve(name)))
        yield made
