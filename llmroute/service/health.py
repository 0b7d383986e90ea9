"""Ask every provider at once whether it is well, with free requests only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    LLMRouteError,
    ProviderTimeoutError,
    RateLimitError,
    UnreachableError,
)
from llmroute.providers import PROVIDERS

if TYPE_CHECKING:
    from llmroute.providers import Provider
    from llmroute.service.api import LLMService
    from llmroute.transport import Sender

PROBE_TIMEOUT_S = 5.0

_STATUS = {
    AuthenticationError: "bad key",
    RateLimitError: "rate limited",
    UnreachableError: "unreachable",
    ProviderTimeoutError: "unreachable",
}


@dataclass(frozen=True, slots=True)
class Health:
    """How a provider is.  `configured` says whether the user means to use it: what is not is not ill.

    `models` is how many models its list has, `latency_ms` how long the list took.
    """

    ok: bool
    status: str
    configured: bool
    latency_ms: int | None = None
    models: int | None = None
    detail: str | None = None
    open_until: str | None = None


def probe_all(service: LLMService, names: tuple[str, ...] = ()) -> dict[str, Health]:
    """Probe the named providers, or all, side by side; takes no longer than the slowest, five seconds at most."""
    from concurrent.futures import ThreadPoolExecutor

    from llmroute.transport import Sender

    asked = names or tuple(PROVIDERS)
    sender = Sender()
    try:
        with ThreadPoolExecutor(max_workers=len(asked)) as pool:
            return dict(zip(asked, pool.map(lambda name: _probe(service, sender, name), asked), strict=True))
    finally:
        sender.close()


def _probe(service: LLMService, sender: Sender, name: str) -> Health:
    settings = service.config.providers[name]
    row = PROVIDERS[name]
    if problem := service.why_unusable(name):
        without_key = row.needs_key and not settings.api_key and not settings.problem
        status = "no key" if without_key else "not installed" if name == "builtin" else "not allowed"
        return Health(ok=False, status=status, configured=settings.problem is not None, detail=problem)
    if name == "builtin":
        return Health(ok=True, status="ok", configured=False, models=1, detail="starts when it is needed")
    configured = row.needs_key or settings.base_url is not None
    started = time.monotonic()
    try:
        count = _count_models(sender, service.connect(name), started)
    except AttemptError as error:
        status = next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failing")
        hint = f" ({error.hint})" if error.hint else ""
        return Health(ok=False, status=status, configured=configured, detail=error.message + hint)
    except LLMRouteError as error:
        return Health(ok=False, status="failing", configured=configured, detail=error.message)
    latency_ms = round((time.monotonic() - started) * 1000)
    well = count > 0 or not row.local
    return Health(
        ok=well,
        status="ok" if well else "no models pulled",
        configured=configured,
        latency_ms=latency_ms,
        models=count,
        detail=None if well else "pull one with: llmroute models pull ollama/NAME",
    )


def _count_models(sender: Sender, provider: Provider, started: float) -> int:
    """Return how many models the first page of the provider's list has."""

    def left_s() -> float:
        return max(PROBE_TIMEOUT_S - (time.monotonic() - started), 0.001)

    exchange = sender.open(provider.render_models(), connect_s=left_s() / 2, answer_s=left_s() / 2)
    try:
        pieces = []
        while piece := exchange.read(left_s()):
            pieces.append(piece)
    finally:
        exchange.close()
    body = b"".join(pieces)
    if exchange.status != 200:  # noqa: PLR2004
        raise provider.parse_error(exchange.status, exchange.headers, body)
    return len(provider.parse_models(body).models)
