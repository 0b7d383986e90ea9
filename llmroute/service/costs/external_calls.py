"""Record calls that a program made itself, and return totals by model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import RequestError
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.buckets import NO_END_MS
from llmroute.ledger.entries import Settled
from llmroute.ledger.statistics.values import Observation
from llmroute.types import as_picousd
from llmroute.types.labels import label_problem

if TYPE_CHECKING:
    from llmroute.ledger.port import LedgerPort


class ExternalCall(NamedTuple):
    """A call that a program made itself.  `cost_usd` None is unknown, not zero; `effort` is that of the model."""

    provider: str
    model: str
    effort: str
    success: bool
    latency_ms: float
    cost_usd: float | None


def track_usage(ledger: LedgerPort, call: ExternalCall, request_id: str, now_ms: int) -> None:
    """Write an external call as settled, with its observation.

    Raises:
        RequestError: a negative time or cost, or a name that no ledger can store.
        LedgerError: the ledger cannot be written.
    """
    if call.latency_ms < 0 or (call.cost_usd is not None and call.cost_usd < 0):
        raise RequestError("latency_ms and cost_usd cannot be below zero")
    if (problem := label_problem(call.model)) is not None:
        raise RequestError(f"the name of the model {problem}")
    row = AttemptRow(
        request_id=request_id,
        attempt=1,
        started_ms=now_ms,
        settled_ms=now_ms,
        provider=call.provider,
        model=call.model,
        streaming=False,
        status="ok" if call.success else "failed",
        error=None if call.success else "reported",
        latency_ms=round(call.latency_ms),
        cost_picousd=None if call.cost_usd is None else as_picousd(call.cost_usd),
        pid=os.getpid(),
    )
    observation = Observation(
        provider=call.provider,
        model=call.model,
        effort=call.effort,
        bucket=0,
        at_ms=now_ms,
        fingerprint="",
        succeeded=call.success,
        ttft_s=call.latency_ms / 1000 if call.success and call.latency_ms else None,
    )
    (error,) = ledger.write([Settled(row, observation)])
    if error is not None:
        raise error


def usage_stats(ledger: LedgerPort, provider: str | None) -> dict[str, dict[str, Any]]:
    """Return calls, latency and cost of each model in the ledger.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.reports import by_model

    with ledger.snapshot() as reading:
        lines = by_model(reading, None, NO_END_MS)
    return {
        f"{line.key['provider']}/{line.key['model']}": {
            "total_calls": line.call_count,
            "successful_calls": line.call_count - line.failed_count - line.rejected_count,
            "failed_calls": line.failed_count,
            "total_latency_ms": line.latency_ms,
            "total_cost_usd": line.cost_usd,
        }
        for line in lines
        if provider in (None, line.key["provider"])
    }
