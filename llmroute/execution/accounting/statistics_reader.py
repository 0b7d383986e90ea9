"""Read what earlier calls have taught: a request does without it where the ledger cannot be read soon enough."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.execution.accounting.ledger_access import LedgerAccess
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.statistics.values import StatsSnapshot

# How long a read may wait for locks.
LOOK_S = 0.25


class StatisticsReader:
    """Reads the statistics of the ledger, and closes its circuits."""

    def __init__(self, access: LedgerAccess) -> None:
        self._access = access

    def recall(
        self, *, bucket: int, task: str = "", now_ms: int, patience: LockTimeout | None = None
    ) -> StatsSnapshot | None:
        """Return the statistics; None where there is no ledger, or it cannot be read soon enough."""
        if not self._access.exists():
            return None
        try:
            # Without shared caps nothing may be sent: another thread that opens the ledger is waited for.
            opened = self._access.ledger(patience) if self._access.shared_caps() is None else None
            with self._brief_wait(patience) as brief:
                ledger = opened or self._access.ledger(brief)
                return ledger.recall(bucket=bucket, task=task, now_ms=now_ms, patience=brief)
        except LedgerError as error:
            # The beginning of an attempt reports it.
            self._access.read_error = error
            return None

    def reset_breakers(self, provider: str) -> int:
        """Close every circuit of a provider; return how many were not closed.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        if not self._access.exists():
            return 0
        return self._access.ledger().reset_breakers(provider)

    def retry_allowed(self, provider: str, now_ms: int, patience: LockTimeout | None = None) -> bool:
        """Whether a provider has a retry token left; True where the ledger cannot be read."""
        try:
            with self._brief_wait(patience) as brief:
                return self._access.ledger(brief).retry_allowed(provider, now_ms, brief)
        except LedgerError:
            return True

    @contextmanager
    def _brief_wait(self, patience: LockTimeout | None) -> Iterator[LockTimeout]:
        """Yield a short part of a request's lock timeout for a read."""
        from llmroute.ledger.lock_timeout import LockTimeout

        with (patience or self._access.patience()).spent() as left_s:
            yield LockTimeout(min(left_s, LOOK_S))
