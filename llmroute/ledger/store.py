"""Open the ledger, begin an attempt, settle it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from llmroute.after_fork import hold_while_forking, leave_to_parent
from llmroute.errors import LedgerError
from llmroute.ledger import breakers, memory, spool
from llmroute.ledger.entries import INSERT_ONCE, SETTLE, Pending, Settled, write
from llmroute.ledger.faults import HINT, OF_ONE_ROW, translated
from llmroute.ledger.making import create
from llmroute.ledger.reaping import dead_rows, lose
from llmroute.ledger.schema import migrate, require_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.entries import Entry, Refusal
    from llmroute.ledger.rows import AttemptRow

BUSY_TIMEOUT_S = 10.0
SYNCHRONOUS = "PRAGMA synchronous = NORMAL"

# What a process that ends has left open: the last reference to a connection would close it.
_left_open: list[sqlite3.Connection] = []


class Ledger:
    """One open ledger.  Every write is one short transaction; no transaction is open while a provider is called."""

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the ledger at `path`, making it when there is none.

        Raises:
            LedgerError: it cannot be opened, made or understood; says why and what to do.
        """
        self.path = path
        # Held again by whoever writes at once.
        self._lock = threading.RLock()
        self._busy_timeout_s = busy_timeout_s
        require_sqlite()
        with translated(path):
            if not path.exists():
                create(path)
            self._file = path.stat()
            self.db = self._connected()
            try:
                migrate(self.db)
                self.db.execute(SYNCHRONOUS)
            except BaseException:
                self.db.close()
                raise
        hold_while_forking(self)

    def _connected(self) -> sqlite3.Connection:
        """Return a new connection: one serves all threads, one transaction at a time."""
        return sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False)

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
        self.db = self._connected()
        self.db.execute(SYNCHRONOUS)

    def begin(
        self,
        row: AttemptRow,
        caps: Sequence[Cap] = (),
        fit: Callable[[int | None], int | None] | None = None,
        *,
        prober: breakers.Prober | None = None,
        retry: bool = False,
    ) -> None:
        """Write an attempt as pending, its worst case reserved; the first byte is sent only after this.

        `fit` makes the attempt fit what the caps leave and returns its worst case; see `budgets.admit`.

        `prober` is who would try again what was left alone, None to try whatever happens; a `retry` takes a token.

        Raises:
            BudgetExceededError: it fits no cap; nothing is written.
            LedgerError: the row cannot be written.
            RestingError: another caller is trying just now.
        """
        _raise(self.write([Pending(row, caps, fit, prober, retry)]))

    def settle(self, row: AttemptRow, lesson: memory.Lesson | None = None) -> None:
        """Write how an attempt ended and what it taught.  What is settled already is left as it is.

        Raises:
            LedgerError: the row cannot be written.
        """
        _raise(self.write([Settled(row, lesson)]))

    def write(self, entries: Sequence[Entry]) -> list[LedgerError | Refusal | None]:
        """Write entries in their order in one transaction; return of each what kept it out, None of what is written.

        What is wrong with one entry keeps none of the others out.
        """
        try:
            return self._written(entries)
        except LedgerError as error:
            return [_again(error) for _ in entries]

    def write_at_once(self, entries: Sequence[Entry]) -> list[LedgerError | Refusal | None] | None:
        """As `write`, but without waiting for anybody; None, and nothing is written, where that cannot be done."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with translated(self.path):
                try:
                    self.db.execute("PRAGMA busy_timeout = 0")
                    return self._written(entries)
                finally:
                    self.db.execute(f"PRAGMA busy_timeout = {round(self._busy_timeout_s * 1000)}")
        except LedgerError:
            return None
        finally:
            self._lock.release()

    def _written(self, entries: Sequence[Entry]) -> list[LedgerError | Refusal | None]:
        """Write all that can be written, or nothing."""
        outcomes: list[LedgerError | Refusal | None]
        try:
            with self.transaction() as db:
                outcomes = [*write(db, entries)]
        except LedgerError as error:
            if len(entries) == 1 or not isinstance(error.__cause__, OF_ONE_ROW):
                raise
            with self.transaction():
                outcomes = [self._alone(entry) for entry in entries]
        self._check_place()
        return outcomes

    def _alone(self, entry: Entry) -> LedgerError | Refusal | None:
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

    def recall(self, *, bucket: int, effort: str, now_ms: int) -> memory.Recollection:
        """Read what calls of this size and effort have taught.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock, translated(self.path):
            return memory.recall(self.db, bucket=bucket, effort=effort, now_ms=now_ms)

    def retry_allowed(self, provider: str, now_ms: int) -> bool:
        """Whether a provider has a retry left.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock, translated(self.path):
            return memory.retry_tokens(self.db, provider, now_ms) >= 1

    def reset_breakers(self, provider: str) -> int:
        """Close every breaker of a provider; return how many there were.

        Raises:
            LedgerError: it cannot be written.
        """
        with self.transaction() as db:
            return breakers.reset_breakers(db, provider)

    def tend(self, now_ms: int) -> None:
        """Take in what other runs had to leave beside the ledger, then give up the rows of those that died.

        Costs two looks when there is nothing to do.

        Raises:
            LedgerError: there is something to do, and it cannot be written.
        """
        for place in spool.waiting(self.path):
            try:
                self.take_in(place)
            except LedgerError as error:
                # A spool that somebody else wrote, under sudo for one, keeps nobody from the ledger.
                if not isinstance(error.__cause__, PermissionError):
                    raise
        with translated(self.path):
            dead = dead_rows(self.db, now_ms)
        if dead:
            with self.transaction():
                lose(self.db, dead, now_ms)

    def take_in(self, place: Path) -> int:
        """Take in one spool file and return how many rows were in it.

        Raises:
            LedgerError: it cannot be read, or the ledger cannot be written.
        """
        with translated(self.path), spool.taken(place) as (rows, strange), self.transaction():
            for row in rows:
                try:
                    self.db.execute(INSERT_ONCE if row.status == "pending" else SETTLE, row.values())
                except OF_ONE_ROW:
                    # A value that no column takes.
                    strange.append(spool.line(row))
        return len(rows)

    def _check_place(self) -> None:
        """Notice that the file was deleted or replaced: what is written now is seen by nobody.

        Raises:
            LedgerError: it was.
        """
        with translated(self.path):
            if not os.path.samestat(self._file, self.path.stat()):
                raise LedgerError(f"the ledger {self.path} was replaced while it was in use", hint=HINT)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, taken at once so that it cannot fail half way for a lock."""
        with self._lock, translated(self.path):
            try:
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; what goes wrong is a LedgerError here too."""
        with translated(self.path):
            yield self.db

    def close(self) -> None:
        """Close the connection when the write under way is done."""
        with self._lock:
            self.db.close()

    def leave(self) -> None:
        """Leave the ledger open until the process ends, which must be soon.

        Whoever closes last moves what was written from the write-ahead log into the file and waits for the disk three
        times, which takes longer than all else in a short run.  Once committed it is as safe in the log; another run
        reads it there, and moves it when there are a thousand pages of it.
        """
        with self._lock:
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
    return told
