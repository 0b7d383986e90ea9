"""Check and repair a ledger on a server."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.ledger import spool
from llmroute.ledger.maintenance import CheckReport, Repaired
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.postgres.maintenance import checks
from llmroute.ledger.postgres.maintenance.other_spools import of_other_servers
from llmroute.ledger.postgres.store import PostgresLedger

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from llmroute.ledger.maintenance import Restored
    from llmroute.ledger_location import ServerAddress


@dataclass(frozen=True, slots=True)
class ServerMaintenance:
    """The `maintenance.LedgerMaintenance` of a server; `path` names its spool."""

    address: ServerAddress
    path: Path

    def check(self, now: datetime) -> CheckReport:
        """Check the ledger and change nothing."""
        del now
        with closing(PostgresLedger(self.address, self.path)) as ledger:
            return self._checked(ledger)

    def repair(self, now: datetime, *, from_zero: bool = False) -> Repaired:
        """Correct sums that are not those of the rows, and do the work that waits."""
        del from_zero
        with closing(PostgresLedger(self.address, self.path)) as ledger:
            before = self._checked(ledger)
            ledger.tend(milliseconds(now))
            ledger.fill_sums()
            if not before.sound:
                with ledger.connection.transaction() as db:
                    checks.correct_sums(db, ledger.connection.schema)
            changes = () if before.sound else ("sums: corrected from the rows",)
            return Repaired(before, None, None, changes, self._checked(ledger))

    def rehearse_repair(self, now: datetime) -> Repaired:
        """Return the result that a repair would have: it corrects sums only."""
        report = self.check(now)
        return Repaired(report, None, None, (), report)

    def restore(self, copy: Path, now: datetime) -> Restored:
        """Refuse: a server is restored by its own tools.

        Raises:
            RequestError: always.
        """
        del copy, now
        raise RequestError(
            f"{self.address.name} is not restored from a file",
            hint="restore the database with pg_restore, or set LLMROUTE_LEDGER to the copy",
        )

    def _checked(self, ledger: PostgresLedger) -> CheckReport:
        schema = ledger.connection.schema
        others = (
            f"rows wait in {place} for a run with another URL in LLMROUTE_LEDGER or another configuration directory;"
            " llmroute costs move adds them, if they are of this ledger"
            for place in of_other_servers(self.path)
        )
        notes = (*spool.notes(self.path), *others)
        with ledger.connection.transaction(read_only=True) as db:
            return CheckReport(checks.attempt_count(db, schema), tuple(checks.wrong_sums(db, schema)), notes)
