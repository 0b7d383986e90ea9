"""Create or replace the file of a ledger atomically."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.files import Hold, new_file_beside
from llmroute.ledger.sqlite.errors import HINT
from llmroute.ledger.sqlite.locks import folder_held
from llmroute.ledger.sqlite.schema.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.maintenance import KeptFor


def create(path: Path, patience: LockTimeout) -> None:
    """Create a ledger under another name and link it into place when it is complete.

    Raises:
        LedgerError: another process holds the lock of its directory.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_ledger_beside(path) as new:
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            migrate(db)
            # Only the file itself is linked into place, so that its log must be empty.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with folder_held(path.parent, Hold.ALONE, patience):
            put(new, path)


@contextmanager
def new_ledger_beside(path: Path) -> Iterator[Path]:
    """Yield an empty file beside a ledger; it and its log are removed at the end if they still exist."""
    fd, new = new_file_beside(path)
    os.close(fd)
    try:
        yield new
    finally:
        for leftover in (new, *beside(new)):
            leftover.unlink(missing_ok=True)


def replace(path: Path, new: Path, aside: Path) -> None:
    """Replace a ledger by a complete one, and keep the old one at `aside`; hold the directory exclusively.

    A ledger exists at the path at every moment.  The old log is moved first: SQLite would replay it into the new file.
    """
    if path.exists():
        aside.hardlink_to(path)
    for old, destination in zip(beside(path), beside(aside), strict=True):
        with suppress(FileNotFoundError):
            old.rename(destination)
    new.replace(path)


@contextmanager
def unwritten(path: Path, patience: LockTimeout) -> Iterator[int]:
    """Yield the open file of a ledger while it is locked against writers; a damaged one may not be lockable.

    The file is closed after the connection: closing it drops all locks of this process on it.

    Raises:
        sqlite3.OperationalError: others keep it locked.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        with patience.spent() as within_s, closing(sqlite3.connect(path, timeout=within_s, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                    raise
            yield fd
    finally:
        os.close(fd)


def free_name(path: Path, kind: KeptFor, stamp: str) -> Path:
    """Return a free name beside a ledger, made of `kind`, `stamp` and, if taken, a number."""
    for number in count(1):
        destination = path.with_name(f"{path.name}.{kind}-{stamp}{'' if number == 1 else f'.{number}'}")
        if not any(map(os.path.lexists, (destination, *beside(destination)))):
            break
    return destination


def tidy(aside: Path) -> None:
    """Remove the log of a ledger that was moved aside, if it is empty."""
    log, memory = beside(aside)
    with suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
            memory.unlink(missing_ok=True)


def put(new: Path, path: Path) -> None:
    """Link a complete ledger into place unless there is one; hold the directory exclusively.

    The log of a deleted ledger is removed: SQLite would replay it into the new file.
    """
    if not path.exists():
        for orphan in beside(path):
            orphan.unlink(missing_ok=True)
        path.hardlink_to(new)


def beside(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a ledger."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def require_file(path: Path) -> None:
    """Check that a path is a regular file: opening a pipe would block, and a device stores nothing.

    Raises:
        LedgerError: it is not.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file"
        raise LedgerError(f"the ledger {path} cannot be used: {kind}", hint=HINT)


def refuse_emptied(path: Path) -> None:
    """Check that a ledger whose sums caps need was not emptied.

    Raises:
        LedgerError: it was.
    """
    if is_emptied(path):
        raise LedgerError(f"the ledger {path} is empty: what was spent is not known", hint=HINT)


def is_emptied(path: Path) -> bool:
    """Whether the file is empty, as no ledger is created."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
