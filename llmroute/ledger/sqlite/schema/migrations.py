"""Migrations: the versions of the schema, and how a ledger is brought up to date."""

from __future__ import annotations

import sqlite3
import sys
import time

from llmroute.errors import LedgerError
from llmroute.ledger.sqlite.schema.rollups import WORDS
from llmroute.ledger.sqlite.schema.tables import (
    ATTEMPTS,
    BILLING,
    BUDGETS,
    CACHES,
    CHECKS,
    COARSE,
    CUTS,
    DAY_SUMS,
    IDENTITY,
    JOB_HOSTS,
    JOBS,
    LENGTHS,
    MEMORY,
    NOTABLE,
    TROUBLE,
    WARNINGS,
)

# Each entry brings a ledger one version further and is never edited once released.
MIGRATIONS: tuple[str, ...] = (
    ATTEMPTS,
    MEMORY,
    BUDGETS,
    COARSE,
    TROUBLE,
    BILLING,
    CUTS,
    LENGTHS,
    JOBS,
    CHECKS,
    WARNINGS,
    NOTABLE,
    CACHES,
    IDENTITY,
    JOB_HOSTS,
    DAY_SUMS,
)

# The first with STRICT tables, of 2021-11-27.
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
    """Migrate the tables to the newest version, in one transaction.

    Raises:
        LedgerError: a newer llmroute or another program wrote the ledger.
    """
    if is_current(db):
        return
    version = _version(db)
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger is of version {version} and this llmroute knows only {len(MIGRATIONS)}",
            hint="update llmroute, or point LLMROUTE_LEDGER to another file",
        )
    _enable_write_ahead_log(db)
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
    """Whether the version number of a ledger is the newest."""
    return _version(db) == len(MIGRATIONS)


def roll_back(db: sqlite3.Connection) -> None:
    """Roll back the open transaction, unless SQLite did, as on a full disk."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _enable_write_ahead_log(db: sqlite3.Connection) -> None:
    """Switch the file to a write-ahead log.

    SQLite returns "busy" without waiting where two processes switch at once, so that the wait is here.
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
    """Split a script into statements; `executescript` would commit the open transaction."""
    statements, current = [], ""
    for line in script.split("\n"):
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current.strip())
            current = ""
    return statements
