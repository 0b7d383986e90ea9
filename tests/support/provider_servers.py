"""Providers on loopback that say what a test tells them to, and a service that knows only them."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from llmroute.config import loading
from llmroute.planning import settings
from llmroute.providers import PROVIDERS
from llmroute.service.client import LLMService
from tests.support.fault_server import chunk, chunked_head, closed_port, reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.fault_server import FaultServer, Script

KEY = "sk-secret-0123456789"
OPENAI = "openai/gpt-4.1-mini"
ANTHROPIC = "anthropic/claude-haiku-4-5"


def openai_answer(text: str = "Hello!", *, finish: str = "stop", usage: bool = True) -> bytes:
    """Return a whole answer in OpenAI's format."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 10, "completion_tokens": 5}
    return reply(200, json.dumps(body).encode())


def event(data: object) -> bytes:
    """Return one event of a stream, as a chunk."""
    return chunk(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())


def delta(text: str, finish: str | None = None) -> bytes:
    """Return a piece of a streamed answer."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "model": "gpt-4.1-mini", "choices": [choice]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}})


def openai_stream(*pieces: str) -> Script:
    """Return a whole streamed answer."""
    return [chunked_head(), *map(delta, pieces), delta("", "stop"), USAGE, event("[DONE]"), chunk(b"")]


def openai_error(status: int, code: str = "", **headers: str) -> bytes:
    """Return an error in OpenAI's format."""
    body = {"error": {"message": f"told {code or status}", "code": code or None, "type": None}}
    return reply(status, json.dumps(body).encode(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def anthropic_answer(text: str = "Bonjour!", **usage: int) -> bytes:
    """Return a whole answer in Anthropic's format."""
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "output_tokens": 7, **usage},
    }
    return reply(200, json.dumps(body).encode())


class House:
    """A service in a folder of its own, whose providers are the given servers; and what its ledger says."""

    def __init__(self, folder: Path, **servers: FaultServer) -> None:
        self.folder = folder
        self.environ = {
            "LLMROUTE_CONFIG_DIR": str(folder),
            "OLLAMA_BASE_URL": f"http://127.0.0.1:{closed_port()}",
        }
        for name, server in servers.items():
            self.environ |= {f"{name.upper()}_BASE_URL": server.url, f"{name.upper()}_API_KEY": KEY}
        self.notes: list[str] = []
        self.traces: list[str] = []

    def service(self, clients: Mapping[str, Any] | None = None, /, **environ: str) -> LLMService:
        """Return a service; `clients` are its `http_client` and `async_http_client`."""
        loaded = loading.load(
            PROVIDERS,
            check_models=settings._check_models,
            environ=self.environ | environ,
            working_directory=self.folder,
        )
        return LLMService(config=loaded, note=self.notes.append, trace=self.traces.append, **(clients or {}))

    def rows(self, columns: str = "provider, status, error, http_status, attempt") -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.folder / "ledger.db")
        try:
            return db.execute(f"SELECT {columns} FROM attempts ORDER BY request_id, attempt").fetchall()
        finally:
            db.close()
