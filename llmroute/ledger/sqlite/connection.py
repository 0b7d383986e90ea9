"""Connections to a ledger, also to one that cannot be written: on a read-only mount, or another user's."""

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
# How long another process may take to put a ledger into its place before one is read out of turn.
_PUT_S = 0.25
_CANNOT_WRITE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


Connect: TypeAlias = "Callable[[Path, LockTimeout], tuple[os.stat_result, sqlite3.Connection]]"
"""Returns the file of a ledger, as it was when it was opened, and a connection to it."""


def connected_in_turn(path: Path, patience: LockTimeout) -> tuple[os.stat_result, sqlite3.Connection]:
    """Return the file of a ledger and a connection, opened while no ledger is put into the directory or taken away.

    Raises:
        sqlite3.Error: as `connected`.
        LedgerError: as `connected`, or another process keeps the directory locked.
    """
    with folder_held(path.parent, Hold.SHARED, patience), patience.spent() as within_s:
        return path.stat(), connected(path, within_s)


def connected_out_of_turn(path: Path, patience: LockTimeout) -> tuple[os.stat_result, sqlite3.Connection]:
    """As `connected_in_turn`; a connection that only reads, which needs no lock, where the directory stays locked.

    Raises:
        sqlite3.Error: as `connected` or `connected_to_read`.
        LedgerError: it was written by a newer llmroute, or by something else.
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
    """Return a connection to a ledger, brought up to date; one that reads only where SQLite can write no files.

    Raises:
        sqlite3.Error: it cannot be opened, or was not closed and what is in its log cannot be read.
        LedgerError: it was written by a newer llmroute, or by something else.
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
    """Return one more connection to a ledger that is open and up to date.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    db = _connection(str(path), timeout_s)
    db.execute(_SYNCHRONOUS)
    return db


def connected_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Return a connection that reads, whatever version the ledger is of.

    Raises:
        sqlite3.Error: it cannot be read either, or was not closed and what is in its log cannot be read.
        LedgerError: it was written by a newer llmroute, or by something else.
    """
    try:
        return _opened_to_read(path, "mode=ro", timeout_s)
    except sqlite3.Error as error:
        if not _cannot_be_written(error) or _holds_something(beside(path)[0]):
            raise
    # Nothing is in a log, and nobody can make one: the file is all there is.
    return _opened_to_read(path, "immutable=1", timeout_s)


def _cannot_be_written(error: sqlite3.Error) -> bool:
    """Whether a ledger could not be opened because SQLite keeps files beside it while it is in use."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CANNOT_WRITE


def _connection(name: str, timeout_s: float, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=uri, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _opened_to_read(path: Path, how: str, timeout_s: float) -> sqlite3.Connection:
    db = _connection(f"{path.absolute().as_uri()}?{how}", timeout_s, uri=True)
    try:
        if not is_current(db):
            db = _brought_up_to_date(db)
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def _brought_up_to_date(old: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory that has the tables of the newest version."""
    copy = _connection(":memory:", 0)
    try:
        old.backup(copy)
        migrate(copy)
    except BaseException:
        copy.close()
        raise
    old.close()
    return copy


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
