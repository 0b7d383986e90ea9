"""Insert and settle the rows of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError, CircuitOpenError, LedgerError
from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.entries import LedgerEntry, Pending, Refusal, Settled
from llmroute.ledger.sqlite import observations
from llmroute.ledger.sqlite.budget_warnings import claim
from llmroute.ledger.sqlite.budgets import admit
from llmroute.ledger.sqlite.errors import OF_ONE_ROW, translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from llmroute.ledger.statistics.memory import Memory

_INSERT = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (own names)
# A caller that is cancelled while a thread begins the row may settle it first.
INSERT_ONCE = f"{_INSERT} ON CONFLICT (request_id, attempt) DO NOTHING"
# A settled row stays as it is, with two exceptions unless its cost was corrected: a row whose process was thought dead
# may still be settled, and a complete answer may be rejected by the caller's check.
SETTLE = (
    f"{_INSERT} ON CONFLICT (request_id, attempt) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in ("request_id", "attempt"))
    + " WHERE (attempts.status IN ('pending', 'lost') AND excluded.status <> 'pending'"
    " OR attempts.status = 'ok' AND excluded.status = 'rejected') AND attempts.corrected_ms IS NULL"
)


def write(db: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> list[Refusal | None]:
    """Write entries in order, in the open transaction; return for each its refusal, None if it is written."""
    outcomes: list[Refusal | None] = []
    with observations.changing(db) as memory:
        for entry in entries:
            if isinstance(entry, Pending):
                outcomes.append(_begin(db, entry, memory))
            else:
                db.execute(SETTLE, entry.row.values())
                outcomes.append(None)
        for entry in entries:
            if isinstance(entry, Settled) and entry.observation is not None:
                memory.learn(entry.observation)
    for entry in entries:
        if isinstance(entry, Settled) and entry.watch is not None:
            entry.watch.near[:] = claim(db, entry.watch.caps, entry.watch.warn_at)
    return outcomes


def write_alone(db: sqlite3.Connection, entry: LedgerEntry, path: Path) -> LedgerError | Refusal | None:
    """Write one entry, in the open transaction, which stays open where the error is of the entry alone.

    Raises:
        LedgerError: the ledger at `path` cannot be written.
    """
    outcome: LedgerError | Refusal | None
    db.execute("SAVEPOINT entry")
    try:
        with translated(path):
            (outcome,) = write(db, [entry])
    except LedgerError as error:
        if not isinstance(error.__cause__, OF_ONE_ROW):
            raise
        db.execute("ROLLBACK TO entry")
        outcome = error
    db.execute("RELEASE entry")
    return outcome


def _begin(db: sqlite3.Connection, entry: Pending, memory: Memory) -> Refusal | None:
    row, claim = entry.row, entry.claim
    # All checks come before the first write.
    if entry.worst is not None:
        try:
            admit(db, row, entry.caps, entry.worst)
        except BudgetExceededError as refusal:
            return refusal
    if claim is not None and not memory.claim_probe(row.provider, row.model, claim):
        return CircuitOpenError("the circuit is half-open: another request is probing the model")
    if entry.retry:
        memory.spend_retry(row.provider, row.started_ms)
    db.execute(INSERT_ONCE, row.values())
    return None
