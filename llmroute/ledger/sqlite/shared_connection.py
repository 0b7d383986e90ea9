"""The connection to a ledger that all threads of a process share: transactions, snapshots, forks and closing."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from llmroute.after_fork import hold_while_forking, leave_to_parent
from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout, lock_error
from llmroute.ledger.sqlite.connection import connected_again
from llmroute.ledger.sqlite.errors import HINT, translated
from llmroute.ledger.sqlite.maintenance.create import create, require_file
from llmroute.ledger.sqlite.schema.migrations import require_sqlite, roll_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.sqlite.connection import Connect

# The least time that a write waits for the writes of other threads, which take milliseconds.
_THREAD_WAIT_S = 0.05

# Connections that the process leaves open when it ends: dropping the last reference would close them.
_left_open: list[sqlite3.Connection] = []


class SharedConnection:
    """One connection to the file, used by one thread and one transaction at a time."""

    def __init__(
        self, path: Path, *, busy_timeout_s: float, patience: LockTimeout | None, opening: LockTimeout, connect: Connect
    ) -> None:
        """Connect to the ledger at `path`, which is created if there is none.

        `busy_timeout_s` limits the wait of each transaction, `patience` that of all together, `opening` that of this.

        Raises:
            LedgerError: the file cannot be opened, created or read as a ledger.
        """
        self.path = path
        # Reentrant: `write_at_once` holds it around a transaction.
        self._lock = threading.RLock()
        self._busy_timeout_s = busy_timeout_s
        self._patience = patience
        require_sqlite()
        with translated(path):
            if path.exists():
                require_file(path)
            else:
                create(path, opening)
            self._file, self.db = connect(path, opening)
        hold_while_forking(self)

    def renew_patience(self) -> None:
        """Reset the time that all waits together may take, after a step of a long task."""
        if self._patience is not None:
            self._patience.renew()

    def hold(self) -> None:
        """Wait for the open transaction before a fork, which would leave the child with a lock held for ever."""
        self._lock.acquire()

    def release(self) -> None:
        """Allow transactions again after a fork."""
        self._lock.release()

    def start_anew(self) -> None:
        """Connect again in a forked child: SQLite's connections and locks belong to one process."""
        leave_to_parent(self.db)
        self._lock = threading.RLock()
        self.db = connected_again(self.path, self._busy_timeout_s)

    def check_place(self) -> None:
        """Check that the open file is still the one at the path.

        Raises:
            LedgerError: it was deleted or replaced, so that no other process sees what is written to it.
        """
        with translated(self.path):
            if not os.path.samestat(self._file, self.path.stat()):
                raise LedgerError(f"the ledger {self.path} was replaced while it was in use", hint=HINT)

    @contextmanager
    def transaction(self, patience: LockTimeout | None = None) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, with the write lock from the start; the block may commit it itself."""
        patience = patience or self._timeout()
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
    def reading(self, patience: LockTimeout | None = None) -> Iterator[sqlite3.Connection]:
        """Open a read transaction, which sees one snapshot; nested ones see the snapshot of the outermost."""
        with self.snapshot(patience) as db, translated(self.path):
            yield db

    @contextmanager
    def snapshot(self, patience: LockTimeout | None = None) -> Iterator[sqlite3.Connection]:
        """As `reading`, for a block that does other work as well, whose errors are not those of the ledger."""
        with self._turn(patience or self._timeout()):
            with translated(self.path):
                nested = self.db.in_transaction
                if not nested:
                    self.db.execute("BEGIN")
            if nested:
                yield self.db
                return
            try:
                yield self.db
            finally:
                roll_back(self.db)

    @contextmanager
    def at_once(self) -> Iterator[bool]:
        """Hold the connection if no other thread uses it; yields whether it does."""
        lock = self._lock
        held = lock.acquire(blocking=False)
        try:
            yield held
        finally:
            if held:
                lock.release()

    @contextmanager
    def _turn(self, patience: LockTimeout) -> Iterator[None]:
        """Hold the connection among the threads of the process.

        Raises:
            LedgerError: another thread holds it for longer than `patience` allows.
        """
        lock = self._lock
        with patience.spent() as within_s:
            if not lock.acquire(timeout=max(within_s, _THREAD_WAIT_S)):
                raise lock_error(f"the ledger {self.path} is in use by another call")
        try:
            yield
        finally:
            lock.release()

    def _timeout(self) -> LockTimeout:
        return self._patience or LockTimeout(self._busy_timeout_s)

    def close(self) -> None:
        """Close the connection after the open transaction."""
        with self._lock:
            self.db.close()

    def close_at_once(self) -> bool:
        """Close the connection unless another thread uses it; return whether it is closed."""
        with self.at_once() as held:
            if held:
                self.db.close()
            return held

    def leave(self) -> None:
        """Leave the connection open in a process that ends now.

        A checkpoint moves what was written from the write-ahead log into the file, so that a plain copy of the file
        has it, unless others use the ledger just now.  Closing it, which removes the log, would take longer.
        """
        with self._lock:
            with suppress(sqlite3.Error):
                self.db.execute("PRAGMA busy_timeout = 0")
                self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            _left_open.append(self.db)
