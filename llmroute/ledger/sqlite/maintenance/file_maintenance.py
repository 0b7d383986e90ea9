"""Check, repair and restore the file of a ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.maintenance import Repaired
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.sqlite.connection import connected_out_of_turn
from llmroute.ledger.sqlite.maintenance import integrity
from llmroute.ledger.sqlite.maintenance.create import free_name
from llmroute.ledger.sqlite.maintenance.private_copy import copied
from llmroute.ledger.sqlite.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.maintenance import CheckReport, Restored


@dataclass(frozen=True, slots=True)
class FileMaintenance:
    """The `maintenance.LedgerMaintenance` of a SQLite file; `patience` returns a new timeout for locks."""

    path: Path
    patience: Callable[[], LockTimeout]
    capped: bool

    def check(self, now: datetime) -> CheckReport:
        """Check the ledger and change nothing."""
        return integrity.check(self.path, milliseconds(now), self.patience(), connected_out_of_turn)

    def repair(self, now: datetime, *, from_zero: bool = False) -> Repaired:
        """Repair what a check finds, and do the work that waits."""
        from llmroute.ledger.sqlite.maintenance import repair as repairs
        from llmroute.ledger.sqlite.recovery.rebuild import salvage

        path, patience, now_ms = self.path, self.patience(), milliseconds(now)
        found = before = integrity.check(path, now_ms, patience)
        saved, kept = None, None
        changes: tuple[str, ...] = ()
        if before.mendable:
            with Ledger(path, patience=patience) as ledger:
                kept = repairs.repair_parts(ledger.connection, free_name(path, "before-repair", _stamp(now)))
            found = integrity.check(path, now_ms, patience)
        if not found.readable:
            if self.capped and not from_zero:
                self._refuse_to_forget(now)
            saved = salvage(path, _stamp(now), now_ms, patience)
        if path.exists() or spool.waiting(path):
            with Ledger(path, patience=patience) as ledger:
                changes = repairs.repair_sums(ledger.connection, now_ms)
        return Repaired(before, saved, kept, changes, integrity.check(path, now_ms, self.patience()))

    def _refuse_to_forget(self, now: datetime) -> None:
        saved = self.rehearse_repair(now).salvage
        if saved and not saved.rows and not saved.lost.rows:
            raise LedgerError(
                f"{self.path}: it has no record of past costs, so the budgets would restart at zero;"
                " the file is unchanged",
                hint="llmroute costs restore FILE restores a backup; costs check --repair --yes restarts at zero",
            )

    def rehearse_repair(self, now: datetime) -> Repaired:
        """Repair a private copy; the result names the files of the ledger itself."""
        with copied(self.path, self.patience()) as copy:
            tried = replace(self, path=copy).repair(now, from_zero=True)
            original = str(self.path.absolute().parent)
            return _renamed(tried, lambda text: text.replace(str(copy.parent), original))

    def restore(self, copy: Path, now: datetime) -> Restored:
        """Replace the ledger by a copy, and keep the old one beside it."""
        from llmroute.ledger.sqlite.maintenance.restore import restore

        return restore(self.path, copy, _stamp(now), milliseconds(now), self.patience())


def _renamed(tried: Repaired, rename: Callable[[str], str]) -> Repaired:
    """Replace the paths of a private copy in the result of its repair."""

    def report(one: CheckReport) -> CheckReport:
        return replace(one, faults=tuple(map(rename, one.faults)), notes=tuple(map(rename, one.notes)))

    saved, kept = tried.salvage, tried.kept
    return Repaired(
        report(tried.before),
        saved and replace(saved, aside=Path(rename(str(saved.aside)))),
        kept and Path(rename(str(kept))),
        tuple(map(rename, tried.changes)),
        report(tried.after),
    )


def _stamp(now: datetime) -> str:
    return f"{now.astimezone():%Y%m%d-%H%M%S}"
