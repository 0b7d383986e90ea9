"""Which writes are in progress: the ids that they have taken are not visible yet, while higher ones may be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from psycopg import Connection

_WAIT_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.02
# Every function that takes ids locks `windows` first, until its rows are visible: in this mode beside others, or in a
# stronger one, which lets no other take ids meanwhile.
_MODE: Final = "RowExclusiveLock"


def complete_until_id(db: Connection, schema: str) -> int:
    """Return an id before which a later snapshot has every attempt that will ever be recorded.

    Waits for the writes that are in progress: those that have taken lower ids than the highest one that is visible
    are among them.

    Raises:
        LedgerError: one of them does not end, or the server is a standby, which does not know them.
    """
    row = db.execute(f"SELECT max(id), pg_is_in_recovery() FROM {schema}.attempts".encode()).fetchone()  # noqa: S608
    assert row is not None
    highest, is_standby = row
    if is_standby:
        raise LedgerError(
            "the server of the ledger is a standby, which does not know of writes in progress",
            hint="set LLMROUTE_LEDGER to the primary server for this command",
        )
    if highest is None:
        return 0
    until_s = time.monotonic() + _WAIT_S
    in_progress = _writes(db, schema)
    while in_progress:
        if time.monotonic() > until_s:
            failure = LedgerError(
                f"a write to the ledger is still in progress after {_WAIT_S:g} s", hint="run the command again later"
            )
            failure.locked = True
            raise failure
        time.sleep(_LOOK_AGAIN_S)
        in_progress &= _writes(db, schema)
    return int(highest) + 1


def _writes(db: Connection, schema: str) -> set[str]:
    """Return the transactions that write beside others now, whatever snapshot is open."""
    sql = """
        SELECT virtualtransaction FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND relation = to_regclass(%s) AND mode = %s AND granted
    """
    return {name for (name,) in db.execute(sql, (f"{schema}.windows", _MODE))}
