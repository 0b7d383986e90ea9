"""Make a ledger, so that nobody ever meets half of one."""

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


def create(path: Path, patience: LockTimeout) -> None:
    """Make a ledger under another name and link it into place whole, so that nobody ever opens half a ledger.

    Raises:
        LedgerError: another process keeps its directory locked.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_ledger_beside(path) as new:
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            migrate(db)
            # Only the file itself is linked into place: all must be in it, which closing alone would not tell.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with folder_held(path.parent, Hold.ALONE, patience):
            put(new, path)


@contextmanager
def new_ledger_beside(path: Path) -> Iterator[Path]:
    """Lend an empty file beside a ledger, to make another in; what is left of that name in the end is removed."""
    fd, new = new_file_beside(path)
    os.close(fd)
    try:
        yield new
    finally:
        for leftover in (new, *beside(new)):
            leftover.unlink(missing_ok=True)


def replace(path: Path, new: Path, aside: Path) -> None:
    """Put a finished ledger in the place of another, which is kept aside; their directory must be held alone.

    There is a ledger of that name at every moment.  The log goes first: it would be replayed into the new ledger.
    """
    if path.exists():
        aside.hardlink_to(path)
    for old, kept in zip(beside(path), beside(aside), strict=True):
        with suppress(FileNotFoundError):
            old.rename(kept)
    new.replace(path)


@contextmanager
def unwritten(path: Path, patience: LockTimeout) -> Iterator[int]:
    """Lend the open file of a ledger, kept from writers; what is damaged may have no locks any more.

    The file is closed after the connection: its closing would drop the locks that this process has on it.

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


def free_name(path: Path, kind: str, stamp: str) -> Path:
    """Return the name beside a ledger under which one is kept: `kind` and `stamp`, with a number where it is taken."""
    for number in count(1):
        kept = path.with_name(f"{path.name}.{kind}-{stamp}{'' if number == 1 else f'.{number}'}")
        if not any(map(os.path.lexists, (kept, *beside(kept)))):
            break
    return kept


def tidy(aside: Path) -> None:
    """Remove the log of a ledger that was put aside, where nothing is in it."""
    log, memory = beside(aside)
    with suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
            memory.unlink(missing_ok=True)


def put(new: Path, path: Path) -> None:
    """Link a finished ledger into place unless there is one; its directory must be held alone.

    What a ledger that was deleted has left beside it would be replayed into the new one.
    """
    if not path.exists():
        for orphan in beside(path):
            orphan.unlink(missing_ok=True)
        path.hardlink_to(new)


def beside(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a ledger."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def require_file(path: Path) -> None:
    """Check that a path leads to a regular file: opening a pipe would wait for ever, and a device keeps nothing.

    Raises:
        LedgerError: it leads to something else.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "it is a directory" if stat.S_ISDIR(mode) else "it is no regular file"
        raise LedgerError(f"the ledger {path} cannot be used: {kind}", hint=HINT)


def refuse_emptied(path: Path) -> None:
    """Check that a ledger which caps count on was not emptied.

    Raises:
        LedgerError: it was.
    """
    if is_emptied(path):
        raise LedgerError(f"the ledger {path} is empty: what was spent is not known", hint=HINT)


def is_emptied(path: Path) -> bool:
    """Whether there is a file without content: the ledger is put into place whole, so that none is made like that."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
