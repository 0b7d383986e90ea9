"""Open the ledger, begin an attempt, settle it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from llmroute.after_fork import hold_while_forking, leave_to_parent
from llmroute.errors import LedgerError
from llmroute.files import LOCK_WAIT_S
from llmroute.ledger.lock_timeout import LockTimeout, lock_error
from llmroute.ledger.port import Pending, Settled
from llmroute.ledger.sqlite import breakers, housekeeping, observations
from llmroute.ledger.sqlite.connection import connected_again, connected_in_turn
from llmroute.ledger.sqlite.errors import HINT, OF_ONE_ROW, translated
from llmroute.ledger.sqlite.maintenance.create import create, require_file
from llmroute.ledger.sqlite.schema.expected_schema import lost_triggers
from llmroute.ledger.sqlite.schema.migrations import require_sqlite, roll_back
from llmroute.ledger.sqlite.writes import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.port import LedgerEntry, Refusal
    from llmroute.ledger.reports import Span
    from llmroute.ledger.sqlite.connection import Connect
    from llmroute.ledger.stats import Observation, ProbeClaim, StatsSnapshot
    from llmroute.worst_case import WorstCase

# How long a write waits for those of other threads, which take milliseconds, even when its patience is at an end.
_TURN_S = 0.05

# What a process that ends has left open: the last reference to a connection would close it.
_left_open: list[sqlite3.Connection] = []


class Ledger:
    """One open ledger.  Every write is one short transaction; no transaction is open while a provider is called."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = LOCK_WAIT_S,
        patience: LockTimeout | None = None,
        opening: LockTimeout | None = None,
        connect: Connect = connected_in_turn,
    ) -> None:
        """Open the ledger at `path`, making it when there is none.

        `busy_timeout_s` is how long each write may wait for others, `patience` how long all of them together, `opening`
        how long this may.  `connect` is `connected_out_of_turn` where the ledger is only read.

        Raises:
            LedgerError: it cannot be opened, made or understood; says why and what to do.
        """
        self.path = path
        # Held again by whoever writes at once.
        self._lock = threading.RLock()
        self._busy_timeout_s = busy_timeout_s
        self._patience = patience
        # By its number the schema in which no trigger was lost; SQLite counts its changes.
        self._whole_schema: int | None = None
        require_sqlite()
        with translated(path):
            if path.exists():
                require_file(path)
            else:
                create(path, opening or self._waiting())
            # One connection serves all threads, one transaction at a time.
            self._file, self.db = connect(path, opening or self._waiting())
        hold_while_forking(self)

    def _waiting(self) -> LockTimeout:
        return self._patience or LockTimeout(self._busy_timeout_s)

    def renew_patience(self) -> None:
        """Wait for others anew: a long work that goes on is no wait."""
        if self._patience is not None:
            self._patience.renew()

    def hold(self) -> None:
        """Wait for the transaction under way: a fork in its midst would leave the child with its lock for ever."""
        self._lock.acquire()

    def release(self) -> None:
        """Let transactions begin again."""
        self._lock.release()

    def start_anew(self) -> None:
        """Connect again in a forked child: SQLite's connections and locks are one process's own."""
        leave_to_parent(self.db)
        self._lock = threading.RLock()
        self.db = connected_again(self.path, self._busy_timeout_s)

    def begin(
        self,
        row: AttemptRow,
        caps: Sequence[Cap] = (),
        worst: WorstCase | None = None,
        *,
        prober: ProbeClaim | None = None,
        retry: bool = False,
    ) -> None:
        """Write an attempt as pending, its worst case reserved; the first byte is sent only after this.

        `caps` limit the completion of `worst`, and `row.reserved_picousd` is set to its cost.  `prober` claims the
        probe of a half-open circuit, None ignores circuits; a `retry` takes a retry token.

        Raises:
            BudgetExceededError: it fits no cap; nothing is written.
            LedgerError: the row cannot be written.
            RestingError: another caller is trying just now.
        """
        _raise(self.write([Pending(row, caps, worst, prober, retry)]))

    def settle(self, row: AttemptRow, lesson: Observation | None = None) -> None:
        """Write how an attempt ended and what it taught.  What is settled already is left as it is.

        Raises:
            LedgerError: the row cannot be written.
        """
        _raise(self.write([Settled(row, lesson)]))

    def write(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None = None
    ) -> list[LedgerError | Refusal | None]:
        """Write entries in their order in one transaction; return of each what kept it out, None of what is written.

        What is wrong with one entry keeps none of the others out.  `patience` is waited with instead of the ledger's.
        """
        try:
            return self._written(entries, patience)
        except LedgerError as error:
            return [_again(error) for _ in entries]

    def write_at_once(self, entries: Sequence[LedgerEntry]) -> list[LedgerError | Refusal | None] | None:
        """As `write`, but without waiting for anybody; None, and nothing is written, where that cannot be done."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._written(entries, LockTimeout(0))
        except LedgerError:
            return None
        finally:
            self._lock.release()

    def _written(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None
    ) -> list[LedgerError | Refusal | None]:
        """Write all that can be written, or nothing."""
        outcomes: list[LedgerError | Refusal | None]
        try:
            with self.transaction(patience) as db:
                if any(isinstance(entry, Pending) and entry.caps for entry in entries):
                    self._require_triggers()
                outcomes = [*write(db, entries)]
        except LedgerError as error:
            if len(entries) == 1 or not isinstance(error.__cause__, OF_ONE_ROW):
                raise
            with self.transaction(patience):
                outcomes = [self._alone(entry) for entry in entries]
        self._check_place()
        return outcomes

    def _require_triggers(self) -> None:
        """Check that what caps count is still counted.

        Raises:
            LedgerError: a trigger is missing or changed.
        """
        (schema,) = self.db.execute("PRAGMA schema_version").fetchone()
        if schema == self._whole_schema:
            return
        if lost := lost_triggers(self.db):
            raise LedgerError(
                f"the ledger {self.path} does not count what is spent: the trigger {lost[0]} is missing or changed",
                hint=HINT,
            )
        self._whole_schema = schema

    def _alone(self, entry: LedgerEntry) -> LedgerError | Refusal | None:
        """Write one entry in the open transaction, which goes on when something is wrong with the entry."""
        outcome: LedgerError | Refusal | None
        self.db.execute("SAVEPOINT entry")
        try:
            with translated(self.path):
                (outcome,) = write(self.db, [entry])
        except LedgerError as error:
            if not isinstance(error.__cause__, OF_ONE_ROW):
                raise
            self.db.execute("ROLLBACK TO entry")
            outcome = error
        self.db.execute("RELEASE entry")
        return outcome

    def recall(self, *, bucket: int, effort: str, now_ms: int, patience: LockTimeout | None = None) -> StatsSnapshot:
        """Read what calls of this size and effort have taught.

        Raises:
            LedgerError: it cannot be read.
        """
        with self.reading(patience) as db:
            return observations.recall(db, bucket=bucket, effort=effort, now_ms=now_ms)

    def retry_allowed(self, provider: str, now_ms: int, patience: LockTimeout | None = None) -> bool:
        """Whether a provider has a retry left.

        Raises:
            LedgerError: it cannot be read.
        """
        with self.reading(patience) as db:
            return observations.retry_tokens(db, provider, now_ms) >= 1

    def reset_breakers(self, provider: str) -> int:
        """Close every breaker of a provider; return how many there were.

        Raises:
            LedgerError: it cannot be written.
        """
        with self.transaction() as db:
            return breakers.reset_breakers(db, provider)

    def tend(self, now_ms: int, patience: LockTimeout | None = None) -> list[Path]:
        """Take in what other runs had to leave beside the ledger, then give up the rows of those that died.

        Costs two looks when there is nothing to do.  Returns what could not be taken in because others keep it locked.

        Raises:
            LedgerError: there is something to do, and it cannot be written.
        """
        return housekeeping.tend(self, now_ms, patience)

    def _check_place(self) -> None:
        """Notice that the file was deleted or replaced: what is written now is seen by nobody.

        Raises:
            LedgerError: it was.
        """
        with translated(self.path):
            if not os.path.samestat(self._file, self.path.stat()):
                raise LedgerError(f"the ledger {self.path} was replaced while it was in use", hint=HINT)

    @contextmanager
    def transaction(self, patience: LockTimeout | None = None) -> Iterator[sqlite3.Connection]:
        """One write transaction, taken at once so that it cannot fail half way for a lock; commit it here or there."""
        patience = patience or self._waiting()
        with self._turn(patience), translated(self.path):
            try:
                with patience.spent() as within_s:
                    self.db.execute(f"PRAGMA busy_timeout = {round(within_s * 1000)}")
                    self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                if self.db.in_transaction:
                    self.db.execute("COMMIT")
            except BaseException:
                roll_back(self.db)
                raise

    @contextmanager
    def _turn(self, patience: LockTimeout) -> Iterator[None]:
        """Use the connection alone among the threads.

        Raises:
            LedgerError: another thread uses it longer than can be waited.
        """
        lock = self._lock
        with patience.spent() as within_s:
            if not lock.acquire(timeout=max(within_s, _TURN_S)):
                raise lock_error(f"the ledger {self.path} is in use by another call")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def reading(self, patience: LockTimeout | None = None) -> Iterator[sqlite3.Connection]:
        """Read one snapshot, while no other thread uses the connection; what goes wrong is a LedgerError here too.

        What is read within another reading is of the same snapshot.
        """
        with self._turn(patience or self._waiting()), translated(self.path):
            if self.db.in_transaction:
                yield self.db
                return
            self.db.execute("BEGIN")
            try:
                yield self.db
            finally:
                roll_back(self.db)

    def counted(self, keys: tuple[str, ...], span: Span) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        """Yield values of some of a report's keys and what they count; see `counting.counted`.

        Raises:
            LedgerError: it cannot be read.
        """
        from llmroute.ledger.sqlite.queries.counters import counted

        with self.reading() as db:
            yield from counted(db, keys, span)

    def close(self) -> None:
        """Close the connection when the write under way is done."""
        with self._lock:
            self.db.close()

    def close_at_once(self) -> bool:
        """As `close`, but without waiting: False where another thread writes."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.db.close()
        finally:
            self._lock.release()
        return True

    def leave(self) -> None:
        """Leave the ledger open until the process ends, which must be soon.

        What was written is moved from the write-ahead log into the file, so that a plain copy of the file has it,
        unless others read or write just now.  To close the ledger as well, and so remove the log, would take longer.
        """
        with self._lock:
            with suppress(sqlite3.Error):
                self.db.execute("PRAGMA busy_timeout = 0")
                self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            _left_open.append(self.db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _raise(outcomes: list[LedgerError | Refusal | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error


def _again(error: LedgerError) -> LedgerError:
    """Return the error for one more caller, who adds a trace of its own to it."""
    told = LedgerError(error.message, hint=error.hint)
    told.__cause__ = error.__cause__
    told.locked = error.locked
    return told
