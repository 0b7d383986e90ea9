"""Circuit breakers in the ledger; `statistics.breakers` has their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import kinds_at
from llmroute.ledger.statistics.breakers import Circuit, CircuitKey, key_of, tripped

if TYPE_CHECKING:
    import sqlite3

    from llmroute.circuits import BreakerRule
    from llmroute.ledger.stats import Breaker, Observation, ProbeClaim

_KEY = ", ".join(CircuitKey._fields)
_SELECT = f"SELECT {_KEY}, {', '.join(Circuit._fields)} FROM breakers"  # noqa: S608 (own names)
_OF_CALLS = " WHERE provider = ? AND model IN (?, '') AND kind IN (?, ?, ?, ?)"


def open_breakers(db: sqlite3.Connection, now_ms: int) -> list[Breaker]:
    """Return the circuits that are open, or half-open with a probe in flight."""
    found = (circuit.status(key, now_ms) for key, circuit in _circuits(db, " WHERE trips > 0"))
    return [breaker for breaker in found if breaker is not None]


def win_probe(db: sqlite3.Connection, provider: str, model: str, claim: ProbeClaim) -> bool:
    """Whether the caller may send: no circuit is open, or it has claimed the probe of each half-open one."""
    half_open = []
    calls = (provider, model, *kinds_at(claim.tier), claim.fingerprint)
    known = _circuits(db, f"{_OF_CALLS} AND trips > 0 AND fingerprint = ?", *calls)
    for key, circuit in known:
        admits = circuit.admits(key, claim)
        if admits is False:
            return False
        if admits is None:
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
        f"UPDATE breakers SET probe_owner = NULL, probe_until_ms = NULL{_OF_CALLS}",  # noqa: S608 (own names)
        _calls(observation),
    )
    if observation.trip is not None:
        _trip(db, observation, observation.trip)


def reset_breakers(db: sqlite3.Connection, provider: str) -> int:
    """Close every circuit of a provider; return how many were not closed."""
    return db.execute("DELETE FROM breakers WHERE provider = ?", (provider,)).rowcount


def close(db: sqlite3.Connection, observation: Observation) -> None:
    """Record a success: close every circuit of its provider, model and tier."""
    db.execute(f"DELETE FROM breakers{_OF_CALLS}", _calls(observation))  # noqa: S608 (own names)


def _calls(observation: Observation) -> tuple[str, ...]:
    return observation.provider, observation.model, *kinds_at(observation.tier)


def _trip(db: sqlite3.Connection, observation: Observation, trip: BreakerRule) -> None:
    key = key_of(observation, trip)
    known = _circuits(db, " WHERE kind = ? AND provider = ? AND model = ?", *key)
    circuit = tripped(known[0][1] if known else None, observation, trip)
    marks = ", ".join("?" * len((*key, *circuit)))
    db.execute(
        f"INSERT OR REPLACE INTO breakers ({_KEY}, {', '.join(Circuit._fields)}) VALUES ({marks})",  # noqa: S608
        (*key, *circuit),
    )


def _circuits(db: sqlite3.Connection, where: str, *values: str) -> list[tuple[CircuitKey, Circuit]]:
    split = len(CircuitKey._fields)
    rows = db.execute(f"{_SELECT}{where}", values).fetchall()
    return [(CircuitKey(*row[:split]), Circuit(*row[split:])) for row in rows]
