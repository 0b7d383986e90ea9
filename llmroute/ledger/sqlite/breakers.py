"""Circuit breakers: closed, open and half-open states, persisted in the ledger.

Times are UTC milliseconds; a clock that jumps back counts as one that stands still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import FOR_GOOD_MS, HOUR_MS, TripReason
from llmroute.ledger.stats import Breaker, ProbeClaim

if TYPE_CHECKING:
    import sqlite3

    from llmroute.circuits import BreakerRule
    from llmroute.ledger.stats import Observation

# So many failures within this long open a circuit whose rule counts failures.
COUNTING_WINDOW_MS = 600_000
FAILURES_TO_OPEN = 3
# No circuit stays open for longer than this: a later end was written while the clock was ahead, and is ignored.
LONGEST_OPEN_MS = {"endpoint": HOUR_MS, "address": HOUR_MS, "key": HOUR_MS, "model": 24 * HOUR_MS}
LONGEST_PROBE_MS = 25 * HOUR_MS


def open_breakers(db: sqlite3.Connection, now_ms: int) -> list[Breaker]:
    """Return the circuits that are open, or half-open with a probe in flight."""
    columns = "kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0"  # noqa: S608 (own names)
    found = []
    for kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms in db.execute(sql):
        is_open = _is_open(kind, reason, open_until_ms, now_ms)
        probing = not is_open and _is_probed(probe_until_ms, now_ms)
        if is_open or probing:
            until_ms = probe_until_ms if probing else open_until_ms
            stored = TripReason.stored(reason)
            found.append(Breaker(kind, provider, model, stored, until_ms, fingerprint, probing))
    return found


def _is_open(kind: str, reason: str, open_until_ms: int, now_ms: int) -> bool:
    longest_ms = FOR_GOOD_MS if reason == TripReason.KEY_REFUSED else LONGEST_OPEN_MS[kind]
    return 0 < open_until_ms - now_ms <= longest_ms


def _is_probed(probe_until_ms: int | None, now_ms: int) -> bool:
    return probe_until_ms is not None and 0 < probe_until_ms - now_ms <= LONGEST_PROBE_MS


def win_probe(db: sqlite3.Connection, provider: str, model: str, claim: ProbeClaim) -> bool:
    """Whether the caller may send: no circuit is open, or it has claimed the probe of each half-open one."""
    now_ms = claim.now_ms
    half_open = []
    columns = "kind, provider, model, reason, open_until_ms, probe_owner, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0 AND provider = ? AND model IN (?, '') AND fingerprint = ?"  # noqa: S608 (own names)
    for *key, reason, open_until_ms, owner, probe_until_ms in db.execute(
        sql, (provider, model, claim.fingerprint)
    ).fetchall():
        if _is_open(key[0], reason, open_until_ms, now_ms):
            if not claim.awake:
                # It opened after the caller made its plan.
                return False
        elif owner != claim.owner and _is_probed(probe_until_ms, now_ms):
            return False
        else:
            half_open.append((claim.owner, claim.until_ms, *key))
    db.executemany(
        "UPDATE breakers SET probe_owner = ?, probe_until_ms = ? WHERE kind = ? AND provider = ? AND model = ?",
        half_open,
    )
    return True


def learn_failure(db: sqlite3.Connection, observation: Observation) -> None:
    """Record a failure: release the claim of its probe, and open the circuit that its rule names."""
    if observation.answered:
        # A response of any kind proves that the address can be reached.
        db.execute("DELETE FROM breakers WHERE kind = 'address' AND provider = ?", (observation.provider,))
    db.execute(
        "UPDATE breakers SET probe_owner = NULL, probe_until_ms = NULL WHERE provider = ? AND model IN (?, '')",
        (observation.provider, observation.model),
    )
    if observation.trip is not None:
        _trip(db, observation, observation.trip)


def reset_breakers(db: sqlite3.Connection, provider: str) -> int:
    """Close every circuit of a provider; return how many were not closed."""
    return db.execute("DELETE FROM breakers WHERE provider = ?", (provider,)).rowcount


def close(db: sqlite3.Connection, observation: Observation) -> None:
    """Record a success: close every circuit of its provider and model."""
    db.execute(
        "DELETE FROM breakers WHERE provider = ? AND model IN (?, '')", (observation.provider, observation.model)
    )


def _trip(db: sqlite3.Connection, observation: Observation, trip: BreakerRule) -> None:
    now_ms = observation.at_ms
    key = (trip.kind, observation.provider, "" if trip.kind in ("key", "address") else observation.model)
    row = db.execute(
        "SELECT failures, since_ms, trips, open_until_ms, reason FROM breakers"
        " WHERE kind = ? AND provider = ? AND model = ? AND fingerprint = ?",
        (*key, observation.fingerprint),
    ).fetchone()
    failures, since_ms, trips, open_until_ms, reason = row or (0, now_ms, 0, 0, trip.reason)
    is_open = _is_open(trip.kind, reason, open_until_ms, now_ms)
    if not is_open or trip.kind == "key":
        # Expired, or from a wrong clock; of a key, the latest rule holds.
        open_until_ms = 0
    if not 0 <= now_ms - since_ms <= COUNTING_WINDOW_MS and not trips:
        failures, since_ms = 0, now_ms
    failures += 1
    if not trip.counts or failures >= FAILURES_TO_OPEN or trips:
        # A failure while the circuit is open, in the same request or a concurrent one, does not count as opening again.
        trips += not (is_open and trips)
        open_ms = min(trip.rest_ms * 2 ** min(trips - 1, 20), trip.most_ms)
        open_until_ms = max(open_until_ms, now_ms + open_ms)
    db.execute(
        "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (*key, trip.reason.value, failures, since_ms, trips, open_until_ms, observation.fingerprint),
    )
