"""Warn once in each window when most of a cap is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.execution.accounting.caps import current_caps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Limit
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.entries import BudgetWatch


class BudgetWarnings:
    """Warns after a settlement of the caps of which at least the share `warn_at` is spent."""

    def __init__(
        self, limits: Callable[[], Sequence[Limit] | None], warn_at: float, warn: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._warn_at = warn_at
        self._warn = warn

    def watch(self, rows: Sequence[AttemptRow]) -> BudgetWatch | None:
        """Return the caps that settled rows count against, for the ledger to watch; None where there are none."""
        workspaces = {"", *(row.workspace or "" for row in rows)}
        limits = [limit for limit in self._limits() or () if limit.workspace in workspaces]
        if not rows or not limits:
            return None
        from llmroute.ledger.entries import BudgetWatch

        try:
            return BudgetWatch(current_caps(limits, max(row.started_ms for row in rows)), self._warn_at, [])
        except LedgerError:
            # The beginning of an attempt reports it.
            return None

    def warn_of(self, watch: BudgetWatch) -> None:
        """Warn of the caps that are nearly spent, unless any process warned in this window."""
        from llmroute.ledger.budgets import near_cap_warning

        for status in watch.near:
            self._warn(near_cap_warning(status))
