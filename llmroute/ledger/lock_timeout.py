"""How long locks of the ledger are waited for."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def lock_error(message: str, *, hint: str | None = None) -> LedgerError:
    """Return the error for a lock that another thread or process holds for too long."""
    error = LedgerError(message, hint=hint)
    error.locked = True
    return error
