"""Warn once in each window when most of a cap is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Limit
    from llmroute.execution.accounting.ledger_access import LedgerAccess
    from llmroute.ledger.attempt_row import AttemptRow

# How long a warning may wait for locks, also in the thread of an event loop; a later settlement claims it else.
_WAIT_S = 0.05


class BudgetWarnings:
    """Warns after a settlement of the caps of which at least the share `warn_at` is spent."""

    def __init__(
        self,
        access: LedgerAccess,
        limits: Callable[[], Sequence[Limit] | None],
        warn_at: float,
        warn: Callable[[str], None],
    ) -> None:
        self._access = access
        self._limits = limits
        self._warn_at = warn_at
        self._warn = warn

    def after(self, rows: Sequence[AttemptRow]) -> None:
        """Warn of the caps that rows just settled count against, unless any process warned in this window."""
        workspaces = {"", *(row.workspace or "" for row in rows)}
        limits = [limit for limit in self._limits() or () if limit.workspace in workspaces]
        if not rows or not limits:
            return
        from llmroute.execution.accounting.caps import current_caps
        from llmroute.ledger.budgets import near_cap_warning
        from llmroute.ledger.lock_timeout import LockTimeout

        caps = current_caps(limits, max(row.started_ms for row in rows))
        patience = LockTimeout(_WAIT_S)
        try:
            claimed = self._access.ledger(patience).claim_budget_warnings(caps, self._warn_at, patience)
        except LedgerError:
            return
        for status in claimed:
            self._warn(near_cap_warning(status))
