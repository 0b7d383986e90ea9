"""Locks of directories of ledgers, and how long they are waited for: whoever holds one may have been stopped."""

from __future__ import annotations

import os
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.files import Hold


class LockTimeout:
    """How many seconds may still be spent on waiting for locks, all waits together; none after the deadline.

    `deadline_s` is how many seconds from now that is, None where there is none.
    """

    def __init__(self, seconds: float, deadline_s: float | None = None) -> None:
        self._seconds = self._left_s = seconds
        self._until_s = None if deadline_s is None else monotonic() + deadline_s

    @property
    def left_s(self) -> float:
        """The seconds that are left, none when the deadline is over."""
        within_s = self._left_s if self._until_s is None else min(self._left_s, self._until_s - monotonic())
        return max(within_s, 0.0)

    def renew(self) -> None:
        """Allow as many seconds as in the beginning."""
        self._left_s = self._seconds

    @contextmanager
    def spent(self) -> Iterator[float]:
        """Lend what is left to one wait, and take off how long it was."""
        began_s = monotonic()
        try:
            yield self.left_s
        finally:
            self._left_s -= monotonic() - began_s


@contextmanager
def folder_held(folder: Path, hold: Hold, patience: LockTimeout) -> Iterator[None]:
    """Hold the lock of a directory: alone to put a ledger into it or to take one away, shared to open one.

    Raises:
        LedgerError: another process keeps the directory locked.
    """
    try:
        fd = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # It takes no new ledger from us, and shows no files either.
        yield
        return
    try:
        with patience.spent() as within_s:
            if not locked(fd, within_s, hold):
                raise LedgerError(
                    f"another process keeps the directory of the ledger locked: {folder}",
                    hint="let it go on, or end it",
                ) from TimeoutError()
        yield
    finally:
        os.close(fd)
