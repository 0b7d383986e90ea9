"""How long locks of the ledger are waited for."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator


class LockTimeout:
    """The seconds that all waits for locks together may take, none of them beyond `deadline_s` seconds from now."""

    def __init__(self, seconds: float, deadline_s: float | None = None) -> None:
        self._seconds = self._left_s = seconds
        self._until_s = None if deadline_s is None else monotonic() + deadline_s

    @property
    def left_s(self) -> float:
        """The seconds that are left."""
        within_s = self._left_s if self._until_s is None else min(self._left_s, self._until_s - monotonic())
        return max(within_s, 0.0)

    def renew(self) -> None:
        """Reset the seconds to their initial number."""
        self._left_s = self._seconds

    def leave_out(self, seconds: float) -> None:
        """Exclude seconds that have just passed from the deadline."""
        if self._until_s is not None:
            self._until_s += seconds

    @contextmanager
    def spent(self) -> Iterator[float]:
        """Yield the remaining seconds for one wait, and subtract its duration."""
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
