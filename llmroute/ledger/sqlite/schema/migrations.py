"""Which tables a ledger has by version, and how one is brought up to date."""

from __future__ import annotations

import sqlite3
import sys
import time

from llmroute.errors import LedgerError
from llmroute.ledger.sqlite.schema.rollups import WORDS
from llmroute.ledger.sqlite.schema.tables import ATTEMPTS, BILLING, BUDGETS, COARSE, CUTS, LENGTHS, MEMORY, TROUBLE

# Each entry brings a ledger one version further and is never edited once released.
MIGRATIONS: tuple[str, ...] = (ATTEMPTS, MEMORY, BUDGETS, COARSE, TROUBLE, BILLING, CUTS, LENGTHS)

# Of 2021-11-27, the first with STRICT tables.
OLDEST_SQLITE = (3, 37, 0)

_SWITCH_AGAIN_S = 0.005


def require_sqlite() -> None:
    """Check that the SQLite library of this Python is new enough for the tables.

    Raises:
        LedgerError: it is not; says which version was found and which is needed.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise LedgerError(
            f"the ledger needs SQLite {oldest} or newer, and this Python has {sqlite3.sqlite_version}",
            hint=f"install llmroute with a Python that is built with a newer SQLite, not with {sys.executable}",
        )


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables up to date in one transaction; does nothing when they already are.

    Raises:
        LedgerError: the ledger was written by a newer llmroute, or by something else.
    """
    if is_current(db):
        return
    version = _version(db)
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger is of version {version} and this llmroute knows only {len(MIGRATIONS)}",
            hint="update llmroute, or point LLMROUTE_LEDGER to another file",
        )
    _keep_a_log_of_writes(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated while this one waited for the lock.
        version = _version(db)
        _refuse_foreign(db, version)
        for migration in MIGRATIONS[version:]:
            for statement in statements(migration.format(**WORDS)):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise


def is_current(db: sqlite3.Connection) -> bool:
    """Whether a ledger has the tables of the newest version, as far as it says so."""
    return _version(db) == len(MIGRATIONS)


def roll_back(db: sqlite3.Connection) -> None:
    """Undo the open transaction, which a full disk has already undone."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _keep_a_log_of_writes(db: sqlite3.Connection) -> None:
    """Switch the file to its write-ahead log.

    Two that switch at once are told "busy" at once, as neither could go on: so wait here, as long as for a lock.
    """
    (busy_timeout_ms,) = db.execute("PRAGMA busy_timeout").fetchone()
    until_s = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until_s:
                raise
            time.sleep(_SWITCH_AGAIN_S)
        else:
            return


def _refuse_foreign(db: sqlite3.Connection, version: int) -> None:
    if version == 0 and db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise LedgerError("the file is a database of another program", hint="point LLMROUTE_LEDGER to another file")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def statements(script: str) -> list[str]:
    """Cut a script into statements; `executescript` would commit before it begins."""
    statements, current = [], ""
    for line in script.split("\n"):
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current.strip())
            current = ""
    return statements
