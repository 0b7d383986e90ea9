"""Warnings that most of a cap is spent: one in each window, whichever process gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.budgets import BudgetStatus

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from llmroute.ledger.budgets import Cap

_KEY = "period = ? AND workspace = ? AND window_start_ms = ? AND cap_picousd = ?"
_WITHOUT_WARNING = f"""
SELECT spent_picousd, reserved_picousd FROM budgets
WHERE {_KEY} AND NOT EXISTS (SELECT 1 FROM budget_warnings WHERE {_KEY})
"""  # noqa: S608 (own names)


def claim(db: sqlite3.Connection, caps: Sequence[Cap], warn_at: float) -> list[BudgetStatus]:
    """Return the caps of which at least the share `warn_at` is spent, and record that the caller warns of them.

    Call it in a transaction.  A cap that has a record for its window and amount is not returned.  Only the first claim
    in a window writes.
    """
    claimed = _without_warning(db, caps, warn_at)
    if claimed:
        db.executemany(
            "INSERT OR REPLACE INTO budget_warnings VALUES (?, ?, ?, ?)", [_key_of(status.cap) for status in claimed]
        )
    return claimed


def _without_warning(db: sqlite3.Connection, caps: Sequence[Cap], warn_at: float) -> list[BudgetStatus]:
    found = []
    for cap in caps:
        row = db.execute(_WITHOUT_WARNING, _key_of(cap) * 2).fetchone()
        status = None if row is None else BudgetStatus(cap, *row)
        if status is not None and status.is_near(warn_at):
            found.append(status)
    return found


def _key_of(cap: Cap) -> tuple[str, str, int, int]:
    return cap.period, cap.workspace, cap.start_ms, cap.cap_picousd
