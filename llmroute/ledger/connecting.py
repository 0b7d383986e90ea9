"""Connections to a ledger, also to one that cannot be written: on a read-only mount, or another user's."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from llmroute.ledger.making import beside
from llmroute.ledger.schema import is_current, migrate

if TYPE_CHECKING:
    from pathlib import Path

_SYNCHRONOUS = "PRAGMA synchronous = NORMAL"
_CANNOT_WRITE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


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
