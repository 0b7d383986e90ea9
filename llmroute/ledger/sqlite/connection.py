"""Connections to the file of a ledger, read-only ones for a read-only mount or the file of another user."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

from llmroute.errors import LedgerError
from llmroute.files import Hold
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.sqlite.locks import folder_held
from llmroute.ledger.sqlite.maintenance.create import beside
from llmroute.ledger.sqlite.schema.migrations import is_current, migrate

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

_SYNCHRONOUS = "PRAGMA synchronous = NORMAL"
# How long another process may take to replace a ledger before it is read without the lock of its directory.
_PUT_S = 0.25
_CANNOT_WRITE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


Connect: TypeAlias = "Callable[[Path, LockTimeout], tuple[os.stat_result, sqlite3.Connection]]"
"""Returns the `stat` of the file that was opened, and a connection to it."""


def connected_in_turn(path: Path, patience: LockTimeout) -> tuple[os.stat_result, sqlite3.Connection]:
    """Connect while no process creates or replaces a ledger in the directory.

    Raises:
        sqlite3.Error: as `connected`.
        LedgerError: as `connected`, or another process holds the lock of the directory.
    """
    with folder_held(path.parent, Hold.SHARED, patience), patience.spent() as within_s:
        return path.stat(), connected(path, within_s)


def connected_out_of_turn(path: Path, patience: LockTimeout) -> tuple[os.stat_result, sqlite3.Connection]:
    """As `connected_in_turn`; a read-only connection, which needs no lock, where the directory stays locked.

    Raises:
        sqlite3.Error: as `connected` or `connected_to_read`.
        LedgerError: a newer llmroute or another program wrote it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_held(path.parent, Hold.SHARED, LockTimeout(min(patience.left_s, _PUT_S))))
        except LedgerError:
            connect = connected_to_read
        else:
            connect = connected
        with patience.spent() as within_s:
            return path.stat(), connect(path, within_s)


def connected(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection to a ledger, migrated if necessary; a read-only one where SQLite can write no files.

    Raises:
        sqlite3.Error: it cannot be opened, or its write-ahead log cannot be read.
        LedgerError: a newer llmroute or another program wrote it.
    """
    db = _connection(str(path), timeout_s)
    try:
        migrate(db)
        db.execute(_SYNCHRONOUS)
    except sqlite3.Error as error:
        db.close()
        if not _cannot_be_written(error):
            raise
        return connected_to_read(path, timeout_s)
    except BaseException:
        db.close()
        raise
    return db


def connected_again(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return another connection to a ledger that was opened and migrated already.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    db = _connection(str(path), timeout_s)
    db.execute(_SYNCHRONOUS)
    return db


def connected_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a read-only connection to a ledger of any version.

    Raises:
        sqlite3.Error: it cannot be read, or its write-ahead log cannot.
        LedgerError: a newer llmroute or another program wrote it.
    """
    try:
        return _opened_to_read(path, "mode=ro", timeout_s)
    except sqlite3.Error as error:
        if not _cannot_be_written(error) or _has_content(beside(path)[0]):
            raise
    # The log is empty and cannot be written: the file alone is the ledger.
    return _opened_to_read(path, "immutable=1", timeout_s)


def _cannot_be_written(error: sqlite3.Error) -> bool:
    """Whether SQLite failed to write the files that it keeps beside an open database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CANNOT_WRITE


def _connection(name: str, timeout_s: float, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=uri, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _opened_to_read(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    db = _connection(f"{path.absolute().as_uri()}?{mode}", timeout_s, uri=True)
    try:
        if not is_current(db):
            db = _migrated_copy(db)
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def _migrated_copy(old: sqlite3.Connection) -> sqlite3.Connection:
    """Return a migrated copy in memory."""
    copy = _connection(":memory:", 0)
    try:
        old.backup(copy)
        migrate(copy)
    except BaseException:
        copy.close()
        raise
    old.close()
    return copy


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
