"""A ledger in a SQLite file: begin and settle attempts, read statistics, reports and maintenance."""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Self

from llmroute.errors import LedgerError
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger.entries import Pending, Settled, copied
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.sqlite import housekeeping, observations
from llmroute.ledger.sqlite.connection import connected_in_turn
from llmroute.ledger.sqlite.errors import OF_ONE_ROW
from llmroute.ledger.sqlite.schema.expected_schema import TriggerCheck
from llmroute.ledger.sqlite.shared_connection import SharedConnection
from llmroute.ledger.sqlite.writes import write, write_alone

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import Cap, SharedCap
    from llmroute.ledger.corrections import Correction
    from llmroute.ledger.entries import LedgerEntry, Refusal
    from llmroute.ledger.sqlite.connection import Connect
    from llmroute.ledger.sqlite.journal import SQLiteJobs
    from llmroute.ledger.sqlite.snapshot import SQLiteSnapshot
    from llmroute.ledger.statistics.values import CheckResult, Observation, ProbeClaim, StatsSnapshot
    from llmroute.worst_case import WorstCase


class Ledger:
    """An open SQLite ledger, the `port.LedgerPort` of a file.

    Every write is one short transaction, and none is open while a provider is called.  Every method raises LedgerError
    where the ledger cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = LOCK_WAIT_S,
        patience: LockTimeout | None = None,
        opening: LockTimeout | None = None,
        connect: Connect = connected_in_turn,
    ) -> None:
        """Open the ledger at `path`, which is created if there is none.

        `busy_timeout_s` limits the wait of each write for locks, `patience` that of all together, `opening` that of
        this.  `connect` is `connected_out_of_turn` where the ledger is only read.

        Raises:
            LedgerError: the file cannot be opened, created or read as a ledger.
        """
        self.path = path
        self._triggers = TriggerCheck(path)
        self.connection = SharedConnection(
            path,
            busy_timeout_s=busy_timeout_s,
            patience=patience,
            opening=opening or patience or LockTimeout(busy_timeout_s),
            connect=connect,
        )

    @property
    def clock_offset_ms(self) -> int:
        """How far the ledger's clock is ahead of this machine's: it is the same."""
        return 0

    @property
    def shared_caps(self) -> Sequence[SharedCap]:
        """The caps for all hosts: a file has none."""
        return ()

    @property
    def db(self) -> sqlite3.Connection:
        """The connection itself."""
        return self.connection.db

    def begin(
        self,
        row: AttemptRow,
        caps: Sequence[Cap] = (),
        worst: WorstCase | None = None,
        *,
        claim: ProbeClaim | None = None,
        retry: bool = False,
    ) -> None:
        """Write an attempt as pending with its reservation, before the first byte of its request is sent.

        `caps` limit the completion of `worst`, and `row.reserved_picousd` is set to its cost.  `claim` takes the
        probe of a half-open circuit, None ignores circuits; a `retry` takes a retry token.

        Raises:
            BudgetExceededError: the attempt does not fit a cap; nothing is written.
            CircuitOpenError: the circuit is open, or another caller sends its probe.
            LedgerError: the row cannot be written.
        """
        _raise(self.write([Pending(row, caps, worst, claim, retry)]))

    def settle(self, row: AttemptRow, observation: Observation | CheckResult | None = None) -> None:
        """Write the end of an attempt and its observation.  A row that is settled already does not change.

        Raises:
            LedgerError: the row cannot be written.
        """
        _raise(self.write([Settled(row, observation)]))

    def write(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None = None
    ) -> list[LedgerError | Refusal | None]:
        """Write entries in order in one transaction; return for each its error or refusal, None if it is written.

        The error of one entry does not keep the others out.  `patience` replaces the ledger's own.
        """
        try:
            return self._written(entries, patience)
        except LedgerError as error:
            return [copied(error) for _ in entries]

    def write_at_once(self, entries: Sequence[LedgerEntry]) -> list[LedgerError | Refusal | None] | None:
        """As `write`; None, with nothing written, where it would have to wait for a lock."""
        with self.connection.at_once() as held:
            try:
                return self._written(entries, LockTimeout(0)) if held else None
            except LedgerError:
                return None

    def _written(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None
    ) -> list[LedgerError | Refusal | None]:
        """Write all entries that can be written, or nothing."""
        outcomes: list[LedgerError | Refusal | None]
        try:
            with self.connection.transaction(patience) as db:
                if any(isinstance(entry, Pending) and entry.caps for entry in entries):
                    self._triggers.require(db)
                outcomes = [*write(db, entries)]
        except LedgerError as error:
            if len(entries) == 1 or not isinstance(error.__cause__, OF_ONE_ROW):
                raise
            with self.connection.transaction(patience) as db:
                outcomes = [write_alone(db, entry, self.path) for entry in entries]
        self.connection.check_place()
        return outcomes

    def recall(self, *, bucket: int, task: str = "", now_ms: int, patience: LockTimeout | None = None) -> StatsSnapshot:
        """Return the statistics of prompts of a size bucket and a task."""
        with self.connection.reading(patience) as db:
            return observations.recall(db, bucket=bucket, task=task, now_ms=now_ms)

    def retry_allowed(self, provider: str, now_ms: int, patience: LockTimeout | None = None) -> bool:
        """Whether a provider has a retry token left."""
        with self.connection.reading(patience) as db:
            return observations.stored(db).retries_left(provider, now_ms) >= 1

    def reset_breakers(self, provider: str) -> int:
        """Close every circuit of a provider; return how many were not closed."""
        with self.connection.transaction() as db, observations.changing(db) as memory:
            return memory.reset(provider)

    def tend(self, now_ms: int, patience: LockTimeout | None = None, until_s: float = inf) -> list[Path]:
        """Add spooled rows, then settle the rows of dead processes; see `housekeeping.tend`."""
        return housekeeping.tend(self.connection, now_ms, patience, until_s)

    @contextmanager
    def snapshot(self) -> Iterator[SQLiteSnapshot]:
        """Open a read transaction for reports: every query in the block sees the same state."""
        from llmroute.ledger.sqlite.snapshot import SQLiteSnapshot

        with self.connection.snapshot() as db:
            yield SQLiteSnapshot(db, self.path)

    @property
    def jobs(self) -> SQLiteJobs:
        """The journal of batch jobs."""
        from llmroute.ledger.sqlite.journal import SQLiteJobs

        return SQLiteJobs(self.connection, self._triggers.require)

    def fill_sums(self) -> None:
        """Sum the days that the coarser tables lack; see `backfill.fill`."""
        from llmroute.ledger.sqlite.schema.backfill import fill

        fill(self.connection)

    def correct(self, named: str, cost_picousd: int, now_ms: int) -> Correction:
        """Replace the cost of an attempt; see `corrections.correct`."""
        from llmroute.ledger.sqlite.corrections import correct

        return correct(self.connection, named, cost_picousd, now_ms)

    def backup(self, target: Path) -> None:
        """Copy the ledger into a new file; see `prune.backup`."""
        from llmroute.ledger.sqlite.maintenance.prune import backup

        backup(self.connection, target)

    def prunable(self, before_ms: int) -> int:
        """Return how many attempts `prune` would delete."""
        from llmroute.ledger.sqlite.maintenance.prune import prunable

        return prunable(self.connection, before_ms)

    def prune(self, before_ms: int) -> int:
        """Delete settled attempts that started before a time; see `prune.prune`."""
        from llmroute.ledger.sqlite.maintenance.prune import prune

        # Sums are filled from the rows first, while they are there.
        self.fill_sums()
        return prune(self.connection, before_ms)

    def close(self) -> None:
        """Close the ledger after the open transaction."""
        self.connection.close()

    def close_at_once(self) -> bool:
        """Close the ledger unless another thread uses it; return whether it is closed."""
        return self.connection.close_at_once()

    def leave(self) -> None:
        """Leave the ledger open in a process that ends now."""
        self.connection.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _raise(outcomes: list[LedgerError | Refusal | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error
