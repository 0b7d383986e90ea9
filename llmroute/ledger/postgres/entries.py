"""Ledger entries as the JSON that the functions of the schema take, and their outcomes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llmroute.circuits import BreakerRule, TripReason, kinds_at
from llmroute.errors import BudgetExceededError, CircuitOpenError
from llmroute.ledger.budgets import EVERY_WORKSPACE, BudgetStatus, describe
from llmroute.ledger.entries import Pending
from llmroute.ledger.statistics.values import CheckResult, Observation
from llmroute.types.labels import MOST_LABEL_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.entries import BudgetWatch, LedgerEntry, Refusal, Settled
    from llmroute.ledger.statistics.breakers import CircuitKey

# Of any length where they come from.
_LABELS = ("model", "workspace")
END_OF_TOTAL_MS = 2**62
"""The end of a window without one."""


class Outdated:
    """The outcome of an attempt whose circuits changed after its caller read the statistics: ask again."""


def storable(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns as the server takes them: text holds no NUL, which becomes U+FFFD, and keys are bounded in length.

    An older client, or a file that is moved, may have longer labels.
    """
    values = {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in columns.items()
    }
    labels = {name: values[name][:MOST_LABEL_CHARACTERS] for name in _LABELS if values.get(name) is not None}
    return {**values, **labels}


def row_json(row: AttemptRow) -> dict[str, Any]:
    """Return a row as its columns."""
    return {**storable(asdict(row)), "streaming": int(row.streaming)}


def own_caps(entry: Pending) -> list[Cap]:
    """Return the caps that bind an attempt."""
    if entry.worst is None:
        return []
    return [cap for cap in entry.caps if cap.workspace in (EVERY_WORKSPACE, entry.row.workspace)]


def window_json(cap: Cap) -> dict[str, Any]:
    """Return the window of a cap."""
    end_ms = END_OF_TOTAL_MS if cap.end_ms is None else cap.end_ms
    return {"workspace": cap.workspace, "start_ms": cap.start_ms, "end_ms": end_ms}


def cap_json(cap: Cap, number: int) -> dict[str, Any]:
    """Return a cap and its window; answers name it by its number."""
    return {**window_json(cap), "number": number, "period": cap.period, "cap_picousd": cap.cap_picousd}


def begin_json(entry: Pending, circuits: Sequence[CircuitKey], seen: Sequence[Any]) -> dict[str, Any]:
    """Return the beginning of an attempt, which probes `circuits`; `seen` is what its caller knew of them."""
    worst, claim = entry.worst, entry.claim
    return {
        "begins": True,
        "row": row_json(entry.row),
        "caps": [cap_json(cap, number) for number, cap in enumerate(own_caps(entry))],
        "worst": None if worst is None else list(worst),
        "claim": claim and {"owner": claim.owner, "until_ms": claim.until_ms, "circuits": circuits, "seen": seen},
        "retry": entry.retry,
        "spooled": entry.spooled,
    }


def settle_json(entry: Settled) -> dict[str, Any]:
    """Return the end of an attempt, its observation and the caps that are watched."""
    observation, watch = entry.observation, entry.watch
    lesson: dict[str, Any] | None = None
    if isinstance(observation, CheckResult):
        lesson = {"kind": "check", **storable(observation._asdict())}
    elif isinstance(observation, Observation):
        lesson = {**storable(observation._asdict()), "kinds": kinds_at(observation.tier)}
    return {
        "begins": False,
        "row": row_json(entry.row),
        "lesson": lesson,
        "watch": watch and watch_json(watch),
        "spooled": entry.spooled,
        "begun": entry.begun,
    }


def watch_json(watch: BudgetWatch) -> dict[str, Any]:
    """Return the caps that are watched; answers name them by their numbers."""
    return {"warn_at": watch.warn_at, "caps": [cap_json(cap, number) for number, cap in enumerate(watch.caps)]}


def keep_near(watch: BudgetWatch, near: Sequence[tuple[int, int, int]] | None) -> None:
    """Put the watched caps that are nearly spent into the watch."""
    watch.near[:] = [BudgetStatus(watch.caps[number], spent, reserved) for number, spent, reserved in near or ()]


def observation_of(lesson: dict[str, Any]) -> Observation:
    """Return the observation that `settle_json` wrote."""
    known = {name: value for name, value in lesson.items() if name in Observation._fields}
    trip = known.pop("trip", None)
    rule = trip and BreakerRule(trip[0], TripReason.stored(trip[1]), *trip[2:5])
    return Observation(**known, trip=rule)


def windows_of(entries: Sequence[LedgerEntry]) -> list[dict[str, Any]]:
    """Return the windows of all caps."""
    return [window_json(cap) for entry in entries if isinstance(entry, Pending) for cap in own_caps(entry)]


def outcome_of(entry: LedgerEntry, result: dict[str, Any]) -> Refusal | Outdated | None:
    """Return the refusal of an entry, None if it is written.

    Sets the reservation of an attempt that is admitted, and the caps that are nearly spent after one that has ended.
    """
    if not isinstance(entry, Pending):
        if entry.watch is not None:
            keep_near(entry.watch, result["near"])
        return None
    if over := result.get("over"):
        number, spent, reserved = over
        tightest = BudgetStatus(own_caps(entry)[number], spent, reserved)
        refusal = BudgetExceededError(describe(tightest))
        refusal.headroom_picousd = tightest.left_picousd
        return refusal
    if result.get("outdated"):
        return Outdated()
    if result.get("probed"):
        return CircuitOpenError("the circuit is half-open: another request is probing the model")
    entry.row.reserved_picousd = result["reserved"]
    return None


def as_json(value: Any) -> str:
    """Return the JSON of a parameter of a function."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
