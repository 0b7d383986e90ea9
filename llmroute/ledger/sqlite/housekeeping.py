"""Take in what other runs had to leave beside the connection, and give up the rows of those that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.sqlite.errors import OF_ONE_ROW, translated
from llmroute.ledger.sqlite.maintenance.orphans import dead_rows, lose
from llmroute.ledger.sqlite.writes import INSERT_ONCE, SETTLE

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.sqlite.shared_connection import SharedConnection


def tend(connection: SharedConnection, now_ms: int, patience: LockTimeout | None = None) -> list[Path]:
    """See `Ledger.tend`.

    Raises:
        LedgerError: there is something to do, and it cannot be written.
    """
    locked = []
    for place in spool.waiting(connection.path):
        try:
            _take_in(connection, place, patience)
        except LedgerError as error:
            # A spool that another user wrote, under sudo for one, does not keep the ledger from being used.
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


def _take_in(connection: SharedConnection, place: Path, patience: LockTimeout | None) -> None:
    """Take in one spool file.

    Whoever has the spool waits for nothing: the ledger is waited for first, and committed before the spool goes.
    """
    with translated(connection.path), connection.transaction(patience) as db, spool.taken(place) as (rows, strange):
        for row in rows:
            try:
                db.execute(INSERT_ONCE if row.status == "pending" else SETTLE, row.values())
            except OF_ONE_ROW:
                # A value that no column takes.
                strange.append(spool.line(row))
        db.execute("COMMIT")
