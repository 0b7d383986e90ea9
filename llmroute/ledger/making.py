"""Make a ledger, so that nobody ever meets half of one."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


def create(path: Path) -> None:
    """Make a ledger under another name and link it into place whole, so that nobody ever opens half a ledger."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        db = sqlite3.connect(new, isolation_level=None)
        try:
            migrate(db)
        finally:
            db.close()
        with alone_in(path.parent):
            put(new, path)
    finally:
        for leftover in (new, *beside(new)):
            leftover.unlink(missing_ok=True)


def put(new: Path, path: Path) -> None:
    """Link a finished ledger into place unless there is one; `alone_in` its directory only.

    What a ledger that was deleted has left beside it would be replayed into the new one.
    """
    if not path.exists():
        for orphan in beside(path):
            orphan.unlink(missing_ok=True)
        path.hardlink_to(new)


def beside(path: Path) -> tuple[Path, Path]:
    """Return the files that SQLite keeps beside a ledger."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only one who puts a ledger into a directory or takes one away."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
