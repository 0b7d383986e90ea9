"""Provider health: request every provider's model list concurrently, free of charge."""

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
from llmroute.providers import ENGINE, PROVIDERS
from llmroute.service.model_lists import WITHIN_S, fetch_models, side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.ledger.statistics.values import Breaker
    from llmroute.planning.endpoints import Endpoints
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
    """The status of a provider.

    Attributes:
        configured: whether the user has set it up; a provider that is not set up does not count as failing.
        latency_ms: the time to its model list; `models` is the number of models in it.
        open_until: the UTC time until which requests skip the provider because its circuit is open; with
            `until_key_changes` it is ten years away.
    """

    ok: bool
    status: str
    configured: bool
    latency_ms: int | None = None
    models: int | None = None
    detail: str | None = None
    open_until: str | None = None
    until_key_changes: bool = False


def probe_all(
    endpoints: Endpoints,
    sender: AnySender,
    open_circuits: Mapping[str, Breaker],
    names: tuple[str, ...] = (),
    *,
    within_s: float = WITHIN_S,
) -> dict[str, Health]:
    """Probe the named providers, or all, concurrently; returns within `within_s` seconds.

    `open_circuits` are those that cover a whole provider, by provider.
    """
    probed = side_by_side(lambda name, until: _probe(endpoints, sender, name, until), names or PROVIDERS, within_s)
    found = {
        name: _failing(endpoints, name, result) if isinstance(result, LLMRouteError) else result
        for name, result in probed.items()
    }
    return {
        name: _with_circuit(health, open_circuits[name]) if name in open_circuits else health
        for name, health in found.items()
    }


def _with_circuit(health: Health, breaker: Breaker) -> Health:
    open_until = _iso(breaker.open_until_ms)
    if breaker.reason is not TripReason.KEY_REFUSED:
        return replace(health, open_until=open_until)
    # A key that may list models may still be refused for completions.
    problem = f"circuit open until its key changes; close it with: {reset_command(breaker.provider)}"
    detail = f"{health.detail}; {problem}" if health.detail else problem
    return replace(health, ok=False, status="bad key", detail=detail, open_until=open_until, until_key_changes=True)


def _probe(endpoints: Endpoints, sender: AnySender, name: str, until: float) -> Health:
    if problem := endpoints.why_unusable(name):
        return _not_callable(endpoints, name, problem)
    if name == ENGINE:
        return Health(ok=True, status="ok", configured=False, models=1, detail="starts on first use")
    started = time.monotonic()
    try:
        count = len(fetch_models(sender, endpoints.connect(name), until))
    except ProviderTimeoutError:
        raise
    except LLMRouteError as error:
        answered = isinstance(error, AttemptError) and error.http_status is not None
        return replace(_failing(endpoints, name, error), latency_ms=_since(started) if answered else None)
    status, detail = ("ok", None) if count else _without_models(name)
    return Health(
        ok=count > 0,
        status=status,
        configured=_configured(endpoints, name),
        latency_ms=_since(started),
        models=count,
        detail=detail,
    )


def _without_models(name: str) -> tuple[str, str]:
    if PROVIDERS[name].local:
        return "no models pulled", f"pull one with: llmroute models pull {name}/NAME"
    return "no models", "its model list has no chat models: check the permissions of the key, and the base URL"


def _not_callable(endpoints: Endpoints, name: str, problem: str) -> Health:
    settings = endpoints.settings(name)
    without_key = PROVIDERS[name].needs_key and not settings.api_key and not settings.problem
    status = "no key" if without_key else "not installed" if name == ENGINE else "not allowed"
    detail = problem.removeprefix(f"{name}: ")
    return Health(ok=False, status=status, configured=settings.problem is not None, detail=detail)


def _failing(endpoints: Endpoints, name: str, error: LLMRouteError) -> Health:
    status = next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failing")
    hint = error.hint
    if name == LOCAL_SERVER and isinstance(error, UnreachableError):
        hint = START_LOCAL_SERVER
    detail = f"{error.message} ({hint})" if hint else error.message
    return Health(ok=False, status=status, configured=_configured(endpoints, name), detail=detail)


def _configured(endpoints: Endpoints, name: str) -> bool:
    return PROVIDERS[name].needs_key or endpoints.settings(name).base_url is not None


def _iso(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat().replace("+00:00", "Z")


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
