"""Write attempts that the ledger cannot take to its spool, with one warning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.execution.operations import Settle
from llmroute.ledger.statistics.values import Observation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.execution.operations import Begin
    from llmroute.ledger.attempt_row import AttemptRow


class SpoolWriter:
    """Writes to the spool of the ledger at `path`; `warn` receives the warnings."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._warned = False
        # Attempts in progress of which the spool has the beginning.
        self._pending: set[tuple[str, int]] = set()
        # Attempts in progress of which neither the ledger nor a file took the beginning.
        self._unkept: set[tuple[str, int]] = set()

    def holds_beginning_of(self, operation: Begin | Settle) -> bool:
        """Whether the pending row of a settlement is in the spool, where its end must follow it."""
        return isinstance(operation, Settle) and (operation.row.request_id, operation.row.attempt) in self._pending

    def follows_beginning(self, operation: Begin | Settle) -> bool:
        """Whether a settlement is of an attempt of which the ledger has had the beginning."""
        key = (operation.row.request_id, operation.row.attempt)
        return isinstance(operation, Settle) and key not in self._pending and key not in self._unkept

    def keep(self, operation: Begin | Settle, why: LedgerError | None) -> None:
        """Append the row of an operation; `why` is the error of the ledger, None for the end of a row that is here."""
        from llmroute.ledger import spool

        row = operation.row
        key = (row.request_id, row.attempt)
        begun = self.follows_beginning(operation)
        self._pending.discard(key)
        self._unkept.discard(key)
        observation = operation.observation if isinstance(operation, Settle) else None
        effort = None
        if isinstance(observation, Observation) and observation.output_tokens is not None:
            effort = observation.effort
        reason = "" if why is None else f": {why.message}"
        try:
            place = spool.keep(row, self._path, complete_at_effort=effort, begun=begun)
        except OSError as error:
            if row.status == "pending":
                self._unkept.add(key)
            else:
                self._warn(
                    f"warning: this call is not in the ledger and cannot be spooled ({error.strerror}){reason};"
                    f" it was {spool.described(row)}"
                )
            return
        if row.status == "pending":
            self._pending.add(key)
        if not self._warned:
            self._warned = True
            self._warn(f"warning: this call is not in the ledger yet; the next run adds it from {place}{reason}")

    def withdraw(self, row: AttemptRow, now_ms: int) -> None:
        """Release the reservation of an attempt that was not sent, where the ledger may have its beginning."""
        from llmroute.ledger import spool

        unsent = replace(row, status="failed", error=LedgerError.kind, settled_ms=now_ms, cost_picousd=0)
        unsent.cost_basis = "reported"
        try:
            spool.keep(unsent, self._path, begun=True)
        except OSError as error:
            self._warn(
                f"warning: the reservation of this call cannot be withdrawn ({error.strerror});"
                " it becomes a cost at its deadline"
            )
