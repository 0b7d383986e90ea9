"""Ask every provider at once whether it is well, with free requests only."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmroute.circuits import TripReason, reset_command
from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    LLMRouteError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    UnreachableError,
)
from llmroute.planning.local.local_models import LOCAL_SERVER, START_LOCAL_SERVER
from llmroute.providers import PROVIDERS
from llmroute.service.provider_lists import WITHIN_S, fetch_models, side_by_side

if TYPE_CHECKING:
    from llmroute.ledger.stats import Breaker
    from llmroute.service.client import LLMService
    from llmroute.transport.loop_sender import AnySender

_STATUS = {
    AuthenticationError: "bad key",
    RateLimitError: "rate limited",
    QuotaError: "no credit",
    UnreachableError: "unreachable",
    ProviderTimeoutError: "unreachable",
}


@dataclass(frozen=True, slots=True)
class Health:
    """How a provider is.  `configured` says whether the user means to use it: what is not is not ill.

    `models` is how many models its list has, `latency_ms` how long its answer took.  `open_until` is the UTC time until
    which calls leave the provider alone for what it did before; with `until_key_changes` it is ten years away.
    """

    ok: bool
    status: str
    configured: bool
    latency_ms: int | None = None
    models: int | None = None
    detail: str | None = None
    open_until: str | None = None
    until_key_changes: bool = False


def probe_all(service: LLMService, names: tuple[str, ...] = (), *, within_s: float = WITHIN_S) -> dict[str, Health]:
    """Probe the named providers, or all, side by side; takes no longer than the slowest, `within_s` at most."""
    asked = names or tuple(PROVIDERS)
    sender = service.asking_sender()
    found = side_by_side(lambda name, until: _probe(service, sender, name, until), asked, within_s)
    resting = service.resting()
    return {
        name: _left_alone(
            _ill(service, name, answer) if isinstance(answer, LLMRouteError) else answer, resting.get(name)
        )
        for name, answer in found.items()
    }


def _left_alone(health: Health, breaker: Breaker | None) -> Health:
    if breaker is None:
        return health
    open_until = _iso(breaker.open_until_ms)
    if breaker.reason is not TripReason.KEY_REFUSED:
        return replace(health, open_until=open_until)
    # That a list comes does not say that the key may call a model.
    told = f"left alone until its key changes, or: {reset_command(breaker.provider)}"
    detail = f"{health.detail}; {told}" if health.detail else told
    return replace(health, detail=detail, open_until=open_until, until_key_changes=True)


def _probe(service: LLMService, sender: AnySender, name: str, until: float) -> Health:
    if problem := service.endpoints.why_unusable(name):
        return _out_of_the_question(service, name, problem)
    if name == "builtin":
        return Health(ok=True, status="ok", configured=False, models=1, detail="starts when it is needed")
    started = time.monotonic()
    try:
        count = len(fetch_models(sender, service.endpoints.connect(name), until))
    except ProviderTimeoutError:
        raise
    except LLMRouteError as error:
        answered = isinstance(error, AttemptError) and error.http_status is not None
        return replace(_ill(service, name, error), latency_ms=_since(started) if answered else None)
    status, detail = ("ok", None) if count else _without_models(name)
    return Health(
        ok=count > 0,
        status=status,
        configured=_configured(service, name),
        latency_ms=_since(started),
        models=count,
        detail=detail,
    )


def _without_models(name: str) -> tuple[str, str]:
    if PROVIDERS[name].local:
        return "no models pulled", f"pull one with: llmroute models pull {name}/NAME"
    return "no models", "it answers, and lists no model that chats: see what the key may use, and the base URL"


def _out_of_the_question(service: LLMService, name: str, problem: str) -> Health:
    settings = service.config.providers[name]
    without_key = PROVIDERS[name].needs_key and not settings.api_key and not settings.problem
    status = "no key" if without_key else "not installed" if name == "builtin" else "not allowed"
    detail = problem.removeprefix(f"{name}: ")
    return Health(ok=False, status=status, configured=settings.problem is not None, detail=detail)


def _ill(service: LLMService, name: str, error: LLMRouteError) -> Health:
    status = next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failing")
    hint = error.hint
    if name == LOCAL_SERVER and isinstance(error, UnreachableError):
        hint = START_LOCAL_SERVER
    told = f"{error.message} ({hint})" if hint else error.message
    return Health(ok=False, status=status, configured=_configured(service, name), detail=told)


def _configured(service: LLMService, name: str) -> bool:
    return PROVIDERS[name].needs_key or service.config.providers[name].base_url is not None


def _iso(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat().replace("+00:00", "Z")


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
