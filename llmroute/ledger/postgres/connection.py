"""The one connection of a process to the server, opened on first use and used by one thread at a time."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import ClientCursor

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import LedgerError
from llmroute.ledger.postgres.bounded_connection import PRELUDE, BoundedConnection, NoReplyError
from llmroute.ledger.postgres.connecting import connected, note_away
from llmroute.ledger.postgres.errors import (
    is_missing,
    is_transient,
    ledger_error,
    migration_error,
    old_schema,
    require_client,
)
from llmroute.ledger.postgres.schema.migrations import CLIENT_VERSION, may_migrate, migrate
from llmroute.ledger.postgres.server_clock import clock_of, steady_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from psycopg import Connection, Cursor

    from llmroute.ledger_location import ServerAddress

    T = TypeVar("T")

_ATTEMPTS = 3


class ServerConnection:
    """Runs statements by `autocommit`: nothing is open between them.  Safe to share between threads.

    Every statement may be sent twice: of one whose connection broke it is not known whether it was committed.  Methods
    that send one raise LedgerError where the server cannot be reached, or does not do it.
    """

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.sent_ms = 0
        """When the last statement was sent, by `steady_ms`."""
        self.clock = clock_of(address)
        self._db: BoundedConnection | None = None
        self._tried_update = False
        self._lock = threading.RLock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Leave the connection to the parent of a forked child."""
        self._lock = threading.RLock()
        self._db = None

    @property
    def schema(self) -> str:
        """The quoted name of the schema."""
        return f'"{self.address.schema}"'

    def run(self, work: Callable[[BoundedConnection], T], within_s: float | None = None) -> T:
        """Run `work`, which may be repeated, on the connection; create the tables where they are missing.

        An answer of the server is waited for `within_s` seconds, None is the usual time.
        """
        with self._lock:
            return self._run(work, within_s)

    def execute(self, sql: str, values: Sequence[Any] = (), within_s: float | None = None) -> Cursor:
        """Execute one statement, which may be repeated, as a transaction in one round trip; return its result."""

        def work(db: Connection) -> Cursor:
            # One message is one transaction; behind pgbouncer its connection has the settings of others.
            cursor = ClientCursor(db)
            cursor.execute(f"{PRELUDE}; {sql}".encode(), values)
            while cursor.nextset():
                pass
            return cursor

        return self.run(work, within_s)

    def call(self, function: str, *values: Any, within_s: float | None = None) -> Any:
        """Call a function of the schema in one round trip; return its result."""
        return _first_column(self.execute(self._statement(function, values), values, within_s))

    def call_at_length(self, function: str, *values: Any) -> Any:
        """As `call`, of a function that is waited for as long as the server works on it."""

        def work(db: BoundedConnection) -> Any:
            with db.watched(self.address.url):
                return _first_column(db.execute(self._statement(function, values).encode(), values))

        return self.run(work)

    def require_client(self) -> int:
        """Refuse a schema that is for newer clients only, and migrate an older one; return its version before.

        Raises:
            LedgerError: also where this client is older than the oldest one.
        """
        sql = f"SELECT oldest_client, version FROM {self.schema}.version"  # noqa: S608 (own name)
        oldest, version = self.execute(sql).fetchone() or (CLIENT_VERSION, CLIENT_VERSION)
        require_client(oldest, CLIENT_VERSION, self.address)
        if version < CLIENT_VERSION:
            # A role without the right uses what is there.
            with suppress(LedgerError):
                self._migrate()
        return int(version)

    def update_schema(self, version: int) -> None:
        """Migrate a schema of an older version, where this role owns it and no other process does now.

        Others use the functions that they find.
        """
        if version >= CLIENT_VERSION or self._tried_update:
            return
        self._tried_update = True

        def work(db: BoundedConnection) -> None:
            with db.watched(self.address.url):
                if may_migrate(db, self.address.schema):
                    migrate(db, self.address.schema)

        self.run(work)

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Connection]:
        """Open a transaction for a block; a `read_only` one sees one state of the ledger.

        Its statements are waited for as long as the server works on them.
        """
        with self._lock:
            version = self.require_client()
            try:
                with self._connection().watched(self.address.url, read_only=read_only) as db:
                    yield db
            except (psycopg.Error, UnicodeEncodeError, OverflowError) as error:
                self._note(error)
                if is_missing(error) and version < CLIENT_VERSION:
                    raise old_schema(version, CLIENT_VERSION, self.address) from error
                raise ledger_error(error, self.address) from error

    def close(self) -> None:
        """Close the connection after the running statement."""
        with self._lock:
            self._close()

    def close_at_once(self) -> bool:
        """Close the connection unless another thread uses it; return whether it is closed."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._close()
        finally:
            self._lock.release()
        return True

    def _statement(self, function: str, values: Sequence[Any]) -> str:
        return f"SELECT {self.schema}.{function}({', '.join(['%s'] * len(values))})"

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _run(self, work: Callable[[BoundedConnection], T], within_s: float | None) -> T:
        unanswered = False
        for number in range(1, _ATTEMPTS + 1):
            is_new = self._db is None
            try:
                return self._answered(work, within_s)
            except (psycopg.Error, UnicodeEncodeError, OverflowError) as error:
                broken = self._db is None or self._db.broken or isinstance(error, NoReplyError)
                unanswered = unanswered or (broken and self._db is not None)
                self._note(error)
                if broken:
                    self._close()
                if number < _ATTEMPTS:
                    if is_missing(error):
                        self._migrate()
                        continue
                    if is_transient(error) or (broken and not is_new):
                        continue
                failure = ledger_error(error, self.address)
                failure.unanswered = unanswered
                raise failure from error
            except BaseException:
                # An interrupt: the answer is still to come on this connection.
                self._close()
                raise
        raise AssertionError

    def _note(self, error: Exception) -> None:
        """Count a server that does not answer as unreachable for a while."""
        if isinstance(error, NoReplyError):
            note_away(self.address, error)
            self._close()

    def _answered(self, work: Callable[[BoundedConnection], T], within_s: float | None) -> T:
        db = self._connection()
        self.sent_ms = steady_ms()
        usual_s = db.reply_within_s
        db.reply_within_s = usual_s if within_s is None else within_s
        try:
            return work(db)
        finally:
            db.reply_within_s = usual_s

    def _migrate(self) -> None:
        try:
            with self._connection().watched(self.address.url) as db:
                oldest_client = migrate(db, self.address.schema)
        except psycopg.errors.LockNotAvailable as error:
            locked = psycopg.OperationalError("another process creates or changes its tables, or keeps them locked")
            note_away(self.address, locked)
            self._close()
            raise ledger_error(locked, self.address) from error
        except psycopg.Error as error:
            raise migration_error(error, self.address) from error
        require_client(oldest_client, CLIENT_VERSION, self.address)

    def _connection(self) -> BoundedConnection:
        if self._db is None:
            self._db = connected(self.address)
        return self._db


def _first_column(cursor: Cursor) -> Any:
    """Return the first column of the first row of a result, None without a row."""
    row = cursor.fetchone()
    return None if row is None else row[0]
