"""Work that earlier runs left: add spooled rows, and settle the pending rows of dead processes."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.sqlite import observations
from llmroute.ledger.sqlite.errors import OF_ONE_ROW, translated
from llmroute.ledger.sqlite.maintenance.orphans import dead_rows, lose
from llmroute.ledger.sqlite.writes import INSERT_ONCE, SETTLE

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.sqlite.shared_connection import SharedConnection

_IS_PRUNED = (
    "SELECT 1 FROM pruned WHERE before_ms > ?"
    " AND NOT EXISTS (SELECT 1 FROM attempts WHERE request_id = ? AND attempt = ?)"
)


def tend(
    connection: SharedConnection, now_ms: int, patience: LockTimeout | None = None, until_s: float = inf
) -> list[Path]:
    """Add spooled rows, then settle the rows of dead processes; two reads where there is nothing to do.

    From `until_s` of the monotonic clock on, other rows are left for the next time.  Returns the spool files that other
    processes keep locked.

    Raises:
        LedgerError: there is work to do, and the ledger cannot be written.
    """
    locked = []
    for place in spool.waiting(connection.path):
        try:
            while _add_spooled(connection, place, patience) and monotonic() < until_s:
                pass
        except LedgerError as error:
            # The spool of another user, as under sudo, does not block the ledger.
            if isinstance(error.__cause__, BlockingIOError):
                locked.append(place)
            elif not isinstance(error.__cause__, PermissionError):
                raise
    with connection.reading(patience) as db:
        dead = dead_rows(db, now_ms)
    if dead:
        with connection.transaction(patience) as db:
            lose(db, dead, now_ms)
    return locked


def _add_spooled(connection: SharedConnection, place: Path, patience: LockTimeout | None) -> bool:
    """Add the last rows of one spool file; return whether it may have more.

    The ledger is locked before the spool and committed before the rows are removed, so that their holder never waits.
    """
    with translated(connection.path), connection.transaction(patience) as db, spool.taken(place) as (rows, invalid):
        has_more = len(rows) + len(invalid) >= spool.ROWS_AT_ONCE
        lengths = []
        for spooled in rows:
            row = spooled.row
            if spooled.begun and db.execute(_IS_PRUNED, (row.started_ms, row.request_id, row.attempt)).fetchone():
                # The sums have it as it was: begun, and ended or lost.
                continue
            try:
                changed = db.execute(INSERT_ONCE if row.status == "pending" else SETTLE, row.values()).rowcount
            except OF_ONE_ROW:
                # A value that no column takes.
                invalid.append(spooled.line())
            else:
                if changed and spooled.length is not None:
                    lengths.append(spooled.length)
        with observations.changing(db) as memory:
            for length in lengths:
                memory.learn_output_length(length)
        db.execute("COMMIT")
    return has_more
