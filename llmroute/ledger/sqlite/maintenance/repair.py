"""Repair a readable ledger: correct tables, indexes and triggers, and rebuild all sums from the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.budgets import dollars
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.housekeeping import tend
from llmroute.ledger.sqlite.maintenance.integrity import FROM_ROWS, hot_rows, named, spans
from llmroute.ledger.sqlite.maintenance.orphans import dead_rows, lose
from llmroute.ledger.sqlite.maintenance.prune import backup
from llmroute.ledger.sqlite.schema.backfill import SPANS, fill, forget
from llmroute.ledger.sqlite.schema.expected_schema import differences, mend
from llmroute.text.plural import many

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from llmroute.ledger.sqlite.shared_connection import SharedConnection


def repair_parts(connection: SharedConnection, aside: Path) -> Path | None:
    """Correct tables, indexes and triggers; return the path of the copy that is kept if a table is dropped.

    Raises:
        LedgerError: the ledger or its copy at `aside` cannot be written.
    """
    unlike = differences(connection.db)
    if not unlike:
        return None
    strange = [one.part.name for one in unlike if one.how == "added" and one.part.kind == "table"]
    if strange:
        backup(connection, aside)
    with connection.transaction() as db:
        mend(db, unlike)
    return aside if strange else None


def repair_sums(connection: SharedConnection, now_ms: int) -> tuple[str, ...]:
    """Add spooled rows, settle those of dead processes, and rebuild all sums from the rows.

    Returns descriptions of the sums that changed.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    tend(connection, now_ms)
    with connection.reading() as db:
        before = _bill(db)
    with connection.transaction() as db:
        lose(db, dead_rows(db, now_ms), now_ms)
        forget(db)
    for span in spans(connection.db):
        with connection.transaction() as db:
            db.execute(f"DELETE FROM rollups WHERE {SPANS['quarters']} AND quarter >= :from", span)  # noqa: S608
            db.execute(f"INSERT INTO rollups {FROM_ROWS}", span)
        connection.renew_patience()
    fill(connection)
    changes = []
    with connection.transaction() as db:
        if (after := _bill(db)) != before:
            changes.append(f"the bill was {_calls(before)} by the sums, and is {_calls(after)} by the rows")
        for cap, spent, _ in hot_rows(db):
            now = summed_status(db, cap)
            db.execute(
                "UPDATE budgets SET spent_picousd = ?, reserved_picousd = ? WHERE period = ? AND workspace = ?",
                (now.spent_picousd, now.reserved_picousd, cap.period, cap.workspace),
            )
            if spent != now.spent_picousd:
                changes.append(f"{named(cap)} counted {dollars(spent)}, and counts {dollars(now.spent_picousd)} now")
    return tuple(changes)


def _bill(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the calls and their cost, summed in Python, where damaged values cannot overflow."""
    calls, cost = 0, 0
    for counted, picousd in db.execute("SELECT call_count, cost_picousd FROM rollups"):
        calls, cost = calls + counted, cost + picousd
    return calls, cost


def _calls(bill: tuple[int, int]) -> str:
    return f"{many(bill[0], 'attempt')}, {dollars(bill[1])}"
