"""Open the ledger, begin an attempt, settle it."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from llmroute.errors import LedgerError, RestingError
from llmroute.ledger import memory
from llmroute.ledger.rows import COLUMNS, AttemptRow
from llmroute.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

BUSY_TIMEOUT_S = 10.0
_HINT = "mend or move it, or point LLMROUTE_LEDGER to another file"

_INSERT = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (own names)
# Whoever is cancelled while a thread begins the row may settle it first.
_BEGIN = f"{_INSERT} ON CONFLICT (request_id, attempt) DO NOTHING"
# A row that is settled stays as it is, whoever comes later; one whose process was thought dead may still be told.
_SETTLE = (
    f"{_INSERT} ON CONFLICT (request_id, attempt) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in ("request_id", "attempt"))
    + " WHERE attempts.status IN ('pending', 'lost')"
)


class Ledger:
    """One open ledger.  Every write is one short transaction; no transaction is open while a provider is called."""

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the ledger at `path`, making it when there is none.

        Raises:
            LedgerError: it cannot be opened, made or understood; says why and what to do.
        """
        self.path = path
        self._lock = threading.Lock()
        with _translated(path):
            if not path.exists():
                _create(path)
            # One connection serves the threads of one event loop, one transaction at a time.
            self.db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
            try:
                migrate(self.db)
                self.db.execute("PRAGMA synchronous = NORMAL")
            except BaseException:
                self.db.close()
                raise

    def begin(self, row: AttemptRow, prober: memory.Prober | None = None, *, retry: bool = False) -> None:
        """Write an attempt as pending; the first byte is sent only after this.

        `prober` is who would try again what was left alone, None to try whatever happens; a `retry` takes a token.

        Raises:
            LedgerError: the row cannot be written.
            RestingError: another caller is trying just now.
        """
        with self.transaction():
            if prober is not None and not memory.win_probe(self.db, row.provider, row.model, prober):
                raise RestingError("it is left alone while another call tries whether it is well again")
            if retry:
                memory.spend_retry_token(self.db, row.provider, row.started_ms)
            self.db.execute(_BEGIN, row.values())

    def settle(self, row: AttemptRow, lesson: memory.Lesson | None = None) -> None:
        """Write how an attempt ended and what it taught.  What is settled already is left as it is.

        Raises:
            LedgerError: the row cannot be written.
        """
        with self.transaction():
            self.db.execute(_SETTLE, row.values())
            if lesson is not None:
                memory.learn(self.db, lesson)

    def recall(self, *, bucket: int, effort: str, now_ms: int) -> memory.Recollection:
        """Read what calls of this size and effort have taught.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock, _translated(self.path):
            return memory.recall(self.db, bucket=bucket, effort=effort, now_ms=now_ms)

    def retry_allowed(self, provider: str, now_ms: int) -> bool:
        """Whether a provider has a retry left.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock, _translated(self.path):
            return memory.retry_tokens(self.db, provider, now_ms) >= 1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, taken at once so that it cannot fail half way for a lock."""
        with self._lock, _translated(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read; what goes wrong is a LedgerError here too."""
        with _translated(self.path):
            yield self.db

    def close(self) -> None:
        """Close the connection when the write under way is done."""
        with self._lock:
            self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _create(path: Path) -> None:
    """Make a ledger under another name and link it into place whole, so that nobody ever opens half a ledger."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        db = sqlite3.connect(new, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            migrate(db, fresh=True)
        finally:
            db.close()
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return
    finally:
        for leftover in (new, Path(f"{new}-wal"), Path(f"{new}-shm")):
            leftover.unlink(missing_ok=True)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate what sqlite3 and the file system raise: this is the boundary at which their errors end."""
    try:
        yield
    except sqlite3.Error as error:
        reason = "it is a directory" if path.is_dir() else str(error)
        raise LedgerError(f"the ledger {path} cannot be used: {reason}", hint=_HINT) from error
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be used: {error.strerror or error}", hint=_HINT) from error
    except (OverflowError, UnicodeError) as error:
        # A number beyond 64 bits, or half a character in a label.
        raise LedgerError(f"the ledger {path} cannot hold this call: {error}") from error
