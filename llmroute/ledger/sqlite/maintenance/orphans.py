"""Settle attempts whose process died: they are `lost`, and charged because the request may have been sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.processes import Process, lives

if TYPE_CHECKING:
    import sqlite3

# The deadline of rows of older versions, which have none.
DEFAULT_DEADLINE_MS = 86_400_000

_PENDING = "SELECT id, pid, host, process, ifnull(deadline_ms, started_ms + ?) FROM attempts WHERE status = 'pending'"
_LOSE = """
UPDATE attempts SET status = 'lost', settled_ms = ?,
    cost_picousd = iif(cost_basis = 'estimated', expected_picousd, reserved_picousd),
    cost_basis = ifnull(cost_basis, 'at_most')
WHERE id = ? AND status = 'pending'
"""


def dead_rows(db: sqlite3.Connection, now_ms: int) -> list[int]:
    """Return the ids of pending rows whose process is dead, or is unknown and past its deadline."""
    found = []
    for row_id, pid, host, mark, deadline_ms in db.execute(_PENDING, (DEFAULT_DEADLINE_MS,)).fetchall():
        alive = lives(Process(pid, host, mark)) if pid is not None and host is not None else None
        if alive is False or (alive is None and now_ms > deadline_ms):
            found.append(row_id)
    return found


def lose(db: sqlite3.Connection, rows: list[int], now_ms: int) -> None:
    """Mark pending rows as lost.  A row that was settled meanwhile stays so.

    What a row had reserved is spent where a budget bound it, or where an older llmroute began it; else what it was
    expected to cost: the rule of `_unknown` in execution/accounting/settlement.py, for rows whose process cannot settle
    them.  The `cost_basis` of a pending row is what it would be by that rule.
    """
    db.executemany(_LOSE, [(now_ms, row_id) for row_id in rows])
