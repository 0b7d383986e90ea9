"""Locks of the directories of ledgers."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.files import locked
from llmroute.ledger.lock_timeout import LockTimeout, lock_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.files import Hold


@contextmanager
def folder_held(folder: Path, hold: Hold, patience: LockTimeout) -> Iterator[None]:
    """Hold the lock of a directory: exclusively to create or replace a ledger in it, shared to open one.

    Raises:
        LedgerError: another process holds the lock of the directory.
    """
    try:
        fd = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # No ledger can be created or opened in it.
        yield
        return
    try:
        with patience.spent() as within_s:
            if not locked(fd, within_s, hold):
                raise lock_error(
                    f"the directory of the ledger, {folder}, is locked by another process",
                    hint="wait for that process, or end it",
                )
        yield
    finally:
        os.close(fd)
