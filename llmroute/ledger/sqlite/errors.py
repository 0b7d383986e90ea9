"""Translate the errors of sqlite3 and of the file system into LedgerError."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HINT = "run llmroute costs check for details, or set LLMROUTE_LEDGER to another file"
_FEW_PAGES_BYTES = 65_536
# Errors of the values of one row, which other rows do not share.
OF_ONE_ROW = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeEncodeError,
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the errors of sqlite3 and of the file system as LedgerError."""
    try:
        yield
    except sqlite3.Error as error:
        failure = LedgerError(f"the ledger {path} cannot be used: {_reason(error, path)}", hint=HINT)
        failure.locked = primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        raise failure from error
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be used: {error.strerror or error}", hint=HINT) from error
    except UnicodeDecodeError as error:
        raise LedgerError(f"the ledger {path} cannot be used: its schema is not UTF-8", hint=HINT) from error
    except (OverflowError, UnicodeEncodeError) as error:
        # A number beyond 64 bits, or a lone surrogate in a label.
        raise LedgerError(f"the ledger {path} cannot hold this call: {error}") from error


def primary_code(error: BaseException) -> int:
    """Return the primary result code of SQLite, 0 where the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_full(error: BaseException, path: Path) -> bool:
    """Whether an error, or the one that it translates, is of a full disk."""
    cause = error.__cause__ if isinstance(error, LedgerError) else error
    code = 0 if cause is None else primary_code(cause)
    return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent))


def _reason(error: sqlite3.Error, path: Path) -> str:
    if primary_code(error) == sqlite3.SQLITE_IOERR and _is_full(path.parent):
        return "the disk is full"
    return str(error)


def _is_full(folder: Path) -> bool:
    """Whether the disk has no room for a few pages: SQLite says "I/O error" when it cannot grow its shared memory."""
    import shutil

    try:
        return shutil.disk_usage(folder).free < _FEW_PAGES_BYTES
    except OSError:
        return False
