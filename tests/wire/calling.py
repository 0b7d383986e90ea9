"""One call through the whole service, by blocking or by awaiting, and what came of it."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from llmroute.config import Config, Timeouts
from llmroute.config.provider_settings import ProviderSettings
from llmroute.errors import IncompleteAnswerError, LLMRouteError
from llmroute.providers import PROVIDERS
from llmroute.request.options import Options
from llmroute.service.client import LLMService
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.registry import ModelRegistry

KEY = "k-0123456789abcdef"
# Nobody listens there, so that a local server of the developer's own is never asked.
NOWHERE = "http://127.0.0.1:9"
# To load certificates takes longer than a call.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Outcome:
    """What a call gave: pieces, a response or an error, what was noted and traced, and its rows in the ledger."""

    pieces: list[str] = field(default_factory=list)
    response: LLMResponse | None = None
    error: LLMRouteError | None = None
    notes: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fault(self) -> BaseException | None:
        """What happened to the attempt: the error itself, or what broke an answer off that was shown in part."""
        return self.error.__cause__ if isinstance(self.error, IncompleteAnswerError) else self.error

    @property
    def row(self) -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows
        return row


def config(
    home: Path, base_urls: dict[str, str], timeouts: Timeouts | None = None, keys: dict[str, str] | None = None
) -> Config:
    """Return a configuration that knows where some providers are, and nothing else."""
    keys = keys or {name: KEY for name in base_urls if PROVIDERS[name].needs_key}
    settings = {
        name: ProviderSettings(
            f"{name.upper()}_API_KEY",
            api_key=keys.get(name),
            base_url=base_urls.get(name, NOWHERE if name == "ollama" else None),
        )
        for name in PROVIDERS
    }
    home.mkdir(exist_ok=True)
    return Config(home, home / "ledger.db", settings, enable_fallback=False, timeouts=timeouts or Timeouts(total_s=20))


def call(
    config: Config, registry: ModelRegistry, *, streaming: bool, awaiting: bool, label: str, **asked: Any
) -> Outcome:
    """Make a call; `label` is what its rows are found under."""
    asked |= {"execution_id": label}
    return _call(config, registry, streaming=streaming, awaiting=awaiting, clients=False, asked=asked)


def call_through_own_client(
    config: Config, registry: ModelRegistry, *, streaming: bool, awaiting: bool, label: str, **asked: Any
) -> Outcome:
    """As `call`, through a client that belongs to the caller."""
    asked |= {"execution_id": label}
    return _call(config, registry, streaming=streaming, awaiting=awaiting, clients=True, asked=asked)


def _call(  # noqa: PLR0913 (by keyword)
    config: Config, registry: ModelRegistry, *, streaming: bool, awaiting: bool, clients: bool, asked: dict[str, Any]
) -> Outcome:
    outcome = Outcome()

    def service(**given: Any) -> LLMService:
        notes, traces = outcome.notes.append, outcome.traces.append
        return LLMService(config=config, registry=registry, note=notes, trace=traces, **given)

    asked = {"prompt": "Say hello."} | asked
    try:
        if awaiting:
            asyncio.run(_awaiting(service, outcome, streaming=streaming, clients=clients, asked=asked))
        elif clients:
            with httpx.Client(verify=_NO_TLS, trust_env=False) as client:
                _blocking(service(http_client=client), outcome, streaming=streaming, asked=asked)
                assert not client.is_closed
        else:
            _blocking(service(), outcome, streaming=streaming, asked=asked)
    except LLMRouteError as error:
        outcome.error = error
    outcome.rows = _rows(config.ledger_path, asked["execution_id"])
    return outcome


def _blocking(service: LLMService, outcome: Outcome, *, streaming: bool, asked: dict[str, Any]) -> None:
    try:
        for piece in service.answer(Options(**asked), streaming=streaming):
            if isinstance(piece, LLMResponse):
                outcome.response = piece
            else:
                outcome.pieces.append(piece)
    finally:
        service.close()


async def _awaiting(
    new: Callable[..., LLMService], outcome: Outcome, *, streaming: bool, clients: bool, asked: dict[str, Any]
) -> None:
    async with AsyncExitStack() as stack:
        given: dict[str, Any] = {}
        if clients:
            client = await stack.enter_async_context(httpx.AsyncClient(verify=_NO_TLS, trust_env=False))
            given["async_http_client"] = client
        service = await stack.enter_async_context(new(**given))
        if not streaming:
            outcome.response = await service.generate(**asked)
            return
        stream = service.stream_generate(**asked)
        async for piece in stream:
            outcome.pieces.append(piece)
        outcome.response = stream.response


def _rows(path: Path, label: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    db = sqlite3.connect(path)
    try:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM attempts WHERE execution = ? ORDER BY id", (label,))]
    finally:
        db.close()
