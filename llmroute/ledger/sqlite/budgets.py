"""Admit attempts under caps, in the transaction that inserts their row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.budgets import EVERY_WORKSPACE, BudgetStatus, Cap, describe
from llmroute.ledger.sqlite.schema.backfill import SINCE_BUCKET

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.worst_case import WorstCase

_SPENT = f"""
SELECT ifnull(sum(cost_picousd), 0) FROM (
    SELECT cost_picousd FROM quarters WHERE quarter >= max(:since, {SINCE_BUCKET}){{own}}
    UNION ALL
    SELECT cost_picousd FROM rollups WHERE quarter >= :since AND quarter < {SINCE_BUCKET}{{own}}
)
"""  # noqa: S608 (own names)
_RESERVED = (
    "SELECT ifnull(sum(reserved_picousd), 0) FROM attempts WHERE status = 'pending' AND started_ms >= :since_ms{own}"
)
_OF_WORKSPACE = " AND workspace = :workspace"


def admit(db: sqlite3.Connection, row: AttemptRow, caps: Sequence[Cap], worst: WorstCase) -> None:
    """Set the reservation of an attempt to the cost of the longest completion that every cap leaves room for.

    Call it inside the write transaction that inserts the row: the lock keeps the sums that are read here valid until
    the trigger `budgets_entered` has added the reservation; `budgets_changed` releases it (`schema.tables`).

    Raises:
        BudgetExceededError: the shortest completion does not fit; names the tightest cap and when it resets.
    """
    statuses = [_current(db, cap) for cap in caps if cap.workspace in (EVERY_WORKSPACE, row.workspace)]
    if not statuses:
        row.reserved_picousd = worst.picousd(worst.most_tokens)
        return
    tightest = min(statuses, key=lambda status: status.left_picousd)
    tokens = worst.tokens_within(tightest.left_picousd)
    if tokens is None:
        refusal = BudgetExceededError(describe(tightest))
        refusal.headroom_picousd = tightest.left_picousd
        raise refusal
    row.reserved_picousd = worst.picousd(tokens)


def summed_status(db: sqlite3.Connection, cap: Cap) -> BudgetStatus:
    """Return the status of a cap, summed from the rollups and the pending rows."""
    own = "" if cap.workspace == EVERY_WORKSPACE else _OF_WORKSPACE
    values = {"since_ms": cap.start_ms, "since": cap.start_ms // BUCKET_MS, "workspace": cap.workspace}
    (spent,) = db.execute(_SPENT.format(own=own), values).fetchone()
    (reserved,) = db.execute(_RESERVED.format(own=own), values).fetchone()
    return BudgetStatus(cap, spent, reserved)


def _current(db: sqlite3.Connection, cap: Cap) -> BudgetStatus:
    """Return the status of a cap from its row in `budgets`, which a new window or a new cap gets first."""
    row = db.execute(
        "SELECT window_start_ms, cap_picousd, spent_picousd, reserved_picousd FROM budgets"
        " WHERE period = ? AND workspace = ?",
        (cap.period, cap.workspace),
    ).fetchone()
    if row is not None and row[:2] == (cap.start_ms, cap.cap_picousd):
        return BudgetStatus(cap, *row[2:])
    now = summed_status(db, cap)
    db.execute(
        "INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?, ?, ?)",
        (cap.period, cap.workspace, cap.start_ms, cap.cap_picousd, now.spent_picousd, now.reserved_picousd),
    )
    return now
