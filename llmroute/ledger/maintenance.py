"""Checks and repairs of a ledger: their interface and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

KeptFor = Literal["before-repair", "corrupt", "orphan", "replaced"]
"""Why an older file of a ledger is kept beside it, as its name has it."""
COARSE_NAMES: Final = {
    "days": "day",
    "quarters": "workspace quarter-hour",
    "task_days": "task day",
    "strategy_days": "strategy day",
}
"""The sums in each table of coarser sums, as the report of a check names them."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check: `faults` need a repair, `notes` only describe work that the next run does.

    `readable` is False where the ledger must be rebuilt from what of it can be read, `mendable` True where tables,
    indexes or triggers differ and can be corrected in place, and `absent` True where there is no ledger yet.
    """

    attempts: int
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()
    readable: bool = True
    mendable: bool = False
    absent: bool = False

    @property
    def sound(self) -> bool:
        """Whether there are no faults."""
        return not self.faults


class MissingRows(NamedTuple):
    """The number of unreadable rows, and their cost by the sums."""

    rows: int = 0
    cost_picousd: int = 0

    def __add__(self, other: tuple[int, ...]) -> MissingRows:  # type: ignore[override]
        return MissingRows(self.rows + other[0], self.cost_picousd + other[1])


@dataclass(frozen=True, slots=True)
class Salvage:
    """The path of the damaged file, the number of attempts read from it, and those known only from sums."""

    aside: Path
    rows: int
    lost: MissingRows


@dataclass(frozen=True, slots=True)
class Repaired:
    """The result of a repair.  `changes` describes changed sums; `kept` is a copy of the ledger as it was."""

    before: CheckReport
    salvage: Salvage | None
    kept: Path | None
    changes: tuple[str, ...]
    after: CheckReport


@dataclass(frozen=True, slots=True)
class Restored:
    """The number of attempts in the restored ledger, and the path of the replaced one, None where there was none."""

    attempts: int
    aside: Path | None


class ServerStatus(NamedTuple):
    """The status of a server; its clock is `clock_offset_ms` ahead of this machine's."""

    version: str
    round_trip_ms: float
    schema_version: int
    clock_offset_ms: int


class UntakenCalls(NamedTuple):
    """A number of calls and their cost."""

    calls: int
    cost_picousd: int


class Moved(NamedTuple):
    """The numbers of copied attempts, of those already present, and of pending calls and batch jobs that stay.

    `untaken` are calls of pruned time that may be missing: another copy of the ledger, which went on in another way,
    has brought more calls of the same quarters of an hour.
    """

    copied: int
    already: int
    pending: int
    open_jobs: int
    untaken: UntakenCalls


class LedgerMaintenance(Protocol):
    """Checks and repairs of one ledger. Every method raises LedgerError if the ledger stays locked."""

    def check(self, now: datetime) -> CheckReport:
        """Check the ledger and change nothing.

        Raises:
            LedgerError: a newer llmroute wrote it.
        """

    def repair(self, now: datetime, *, from_zero: bool = False) -> Repaired:
        """Repair the faults that a check finds, and do pending work.

        Raises:
            LedgerError: the ledger cannot be written, or caps would begin at zero without `from_zero`.
        """

    def rehearse_repair(self, now: datetime) -> Repaired:
        """Repair a private copy; the result names the files of the ledger itself.

        Raises:
            LedgerError: the ledger cannot be copied.
        """

    def restore(self, copy: Path, now: datetime) -> Restored:
        """Replace the ledger by a copy, and keep the old one beside it.

        Raises:
            RequestError: there is no such copy.
            LedgerError: the copy is not sound, or the ledger cannot be replaced.
        """
