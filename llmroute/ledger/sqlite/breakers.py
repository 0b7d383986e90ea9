"""Breakers: what is left alone for a while after failures, and who tries it again first.

Time of day comes in as UTC milliseconds; a clock that jumps back counts as standing still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import FOR_GOOD_MS, HOUR_MS, TripReason
from llmroute.ledger.stats import Breaker, ProbeClaim

if TYPE_CHECKING:
    import sqlite3

    from llmroute.circuits import BreakerRule
    from llmroute.ledger.stats import Observation

# Three failures within this long open a breaker that counts.
COUNTING_WINDOW_MS = 600_000
FAILURES_TO_OPEN = 3
# Nothing is left alone for longer than this: what says so was written while the clock was ahead, and holds no more.
LONGEST_REST_MS = {"endpoint": HOUR_MS, "address": HOUR_MS, "key": HOUR_MS, "model": 24 * HOUR_MS}
LONGEST_PROBE_MS = 25 * HOUR_MS


def open_breakers(db: sqlite3.Connection, now_ms: int) -> list[Breaker]:
    """Return what is left alone now, or is being tried again by somebody."""
    columns = "kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0"  # noqa: S608 (own names)
    found = []
    for kind, provider, model, reason, open_until_ms, fingerprint, probe_until_ms in db.execute(sql):
        resting = _rests(kind, reason, open_until_ms, now_ms)
        probing = not resting and _probed(probe_until_ms, now_ms)
        if resting or probing:
            shown_ms = probe_until_ms if probing else open_until_ms
            stored = TripReason.stored(reason)
            found.append(Breaker(kind, provider, model, stored, shown_ms, fingerprint, probing))
    return found


def _rests(kind: str, reason: str, open_until_ms: int, now_ms: int) -> bool:
    longest_ms = FOR_GOOD_MS if reason == TripReason.KEY_REFUSED else LONGEST_REST_MS[kind]
    return 0 < open_until_ms - now_ms <= longest_ms


def _probed(probe_until_ms: int | None, now_ms: int) -> bool:
    return probe_until_ms is not None and 0 < probe_until_ms - now_ms <= LONGEST_PROBE_MS


def win_probe(db: sqlite3.Connection, provider: str, model: str, prober: ProbeClaim) -> bool:
    """Whether the caller may call: nothing is left alone, or it is the one that tries again."""
    now_ms = prober.now_ms
    half_open = []
    columns = "kind, provider, model, reason, open_until_ms, probe_owner, probe_until_ms"
    sql = f"SELECT {columns} FROM breakers WHERE trips > 0 AND provider = ? AND model IN (?, '') AND fingerprint = ?"  # noqa: S608 (own names)
    for *key, reason, open_until_ms, owner, probe_until_ms in db.execute(
        sql, (provider, model, prober.fingerprint)
    ).fetchall():
        if _rests(key[0], reason, open_until_ms, now_ms):
            if not prober.awake:
                # It has failed since the caller made its plan.
                return False
        elif owner != prober.owner and _probed(probe_until_ms, now_ms):
            return False
        else:
            half_open.append((prober.owner, prober.until_ms, *key))
    db.executemany(
        "UPDATE breakers SET probe_owner = ?, probe_until_ms = ? WHERE kind = ? AND provider = ? AND model = ?",
        half_open,
    )
    return True


def learn_failure(db: sqlite3.Connection, lesson: Observation) -> None:
    """Take in that an attempt did not succeed: whoever probed lets go, and what it tripped is left alone."""
    if lesson.answered:
        # Whatever it said, it could be reached.
        db.execute("DELETE FROM breakers WHERE kind = 'address' AND provider = ?", (lesson.provider,))
    db.execute(
        "UPDATE breakers SET probe_owner = NULL, probe_until_ms = NULL WHERE provider = ? AND model IN (?, '')",
        (lesson.provider, lesson.model),
    )
    if lesson.trip is not None:
        _trip(db, lesson, lesson.trip)


def reset_breakers(db: sqlite3.Connection, provider: str) -> int:
    """Close every breaker of a provider; return how many there were."""
    return db.execute("DELETE FROM breakers WHERE provider = ?", (provider,)).rowcount


def close(db: sqlite3.Connection, lesson: Observation) -> None:
    """Take in that an attempt succeeded: nothing keeps its model out any more."""
    db.execute("DELETE FROM breakers WHERE provider = ? AND model IN (?, '')", (lesson.provider, lesson.model))


def _trip(db: sqlite3.Connection, lesson: Observation, trip: BreakerRule) -> None:
    now_ms = lesson.at_ms
    key = (trip.kind, lesson.provider, "" if trip.kind in ("key", "address") else lesson.model)
    row = db.execute(
        "SELECT failures, since_ms, trips, open_until_ms, reason FROM breakers"
        " WHERE kind = ? AND provider = ? AND model = ? AND fingerprint = ?",
        (*key, lesson.fingerprint),
    ).fetchone()
    failures, since_ms, trips, open_until_ms, reason = row or (0, now_ms, 0, 0, trip.reason)
    resting = _rests(trip.kind, reason, open_until_ms, now_ms)
    if not resting or trip.kind == "key":
        # Over, or from another time; of a key the last word holds.
        open_until_ms = 0
    if not 0 <= now_ms - since_ms <= COUNTING_WINDOW_MS and not trips:
        failures, since_ms = 0, now_ms
    failures += 1
    if not trip.counts or failures >= FAILURES_TO_OPEN or trips:
        # Who fails again while it should rest, in the same request or beside it, has not opened once more.
        trips += not (resting and trips)
        rest_ms = min(trip.rest_ms * 2 ** min(trips - 1, 20), trip.most_ms)
        open_until_ms = max(open_until_ms, now_ms + rest_ms)
    db.execute(
        "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (*key, trip.reason.value, failures, since_ms, trips, open_until_ms, lesson.fingerprint),
    )
