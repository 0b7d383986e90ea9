"""Connections that are not waited for without end: a stopped server keeps them open."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import TupleRow

from llmroute.files import LOCK_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# How long a statement waits for an answer, and how long beyond a lock timeout that is longer.
REPLY_S = 10.0
LOCK_MARGIN_S = 2.0
CONNECT_S = 2
# After this the server ends a transaction whose client is stopped or cut off: calls of others wait for its locks.
_IDLE_S = 5.0
# Settings of a transaction, whatever an administrator made usual: functions of the schema read what others committed
# while they waited for a lock, and what is committed survives a crash of the server.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
PRELUDE = f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {_DURABLE}"


class NoReplyError(psycopg.OperationalError):
    """The server did not answer in time; whether it did what it was asked is unknown."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises NoReplyError from any statement that is not answered within `reply_within_s`, and is closed then.

    It waits on while `is_at_work` says that the server works on the statement; None is unknown.
    """

    is_at_work: Callable[[], bool] | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.reply_within_s = REPLY_S

    @contextmanager
    def watched(self, url: str, *, read_only: bool = False) -> Iterator[BoundedConnection]:
        """Open a transaction whose statements are waited for as long as the server, at `url`, works on them.

        A `read_only` one sees one state of the ledger.

        Raises:
            psycopg.Error: the server cannot be reached, or does not do it; NoReplyError where it does not answer.
        """
        try:
            with self.transaction():
                change = f"{PRELUDE}; SET LOCAL idle_in_transaction_session_timeout = {_IDLE_S * 1000:.0f}"
                begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else change
                self.execute(begin.encode())
                # Behind pgbouncer another process of the server may run the next transaction.
                sql = "SELECT pg_backend_pid(), set_config('lock_timeout', %s, true)"
                row = self.execute(sql, (f"{LOCK_WAIT_S * 1000:.0f}",)).fetchone()
                assert row is not None
                self.is_at_work = partial(is_at_work, url, self, row[0])
                yield self
        finally:
            self.is_at_work = None

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
        """Wait as `psycopg.Connection.wait`, which looks at the clock ten times a second."""
        try:
            return super().wait(self._bounded(gen), *arguments, **named)
        except Exception:
            raise
        except BaseException:
            # An interrupt: the answer that is still to come would be taken for that of a rollback.
            self.pgconn.finish()
            raise

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass on what a generator waits for, as long as may be waited."""
        ready: Any = None
        until_s = time.monotonic() + self.reply_within_s
        is_last_look = False
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if not ready and time.monotonic() <= until_s:
                continue
            if ready or (self.is_at_work is not None and self.is_at_work()):
                until_s, is_last_look = time.monotonic() + self.reply_within_s, False
                continue
            if not is_last_look:
                # It may have answered while it was asked.
                is_last_look = True
                continue
            gen.close()
            # A rollback or close after this error needs no answer.
            self.pgconn.finish()
            raise NoReplyError("the server does not answer")


def is_at_work(url: str, asking: psycopg.Connection, pid: int) -> bool:
    """Whether a process of the server that `asking` is connected to runs a statement, as another connection has it."""
    waits = "SELECT state LIKE 'idle%%' OR wait_event = 'ClientWrite' FROM pg_stat_activity WHERE pid = %s"
    info = asking.info
    # The URL may name several servers.
    same: dict[str, Any] = {"host": info.host, "port": info.port, "target_session_attrs": "any"}
    if info.hostaddr:
        same["hostaddr"] = info.hostaddr
    try:
        with closing(BoundedConnection.connect(url, autocommit=True, connect_timeout=CONNECT_S, **same)) as other:
            row = other.execute(waits, (pid,)).fetchone()
    except psycopg.Error:
        return False
    return row is not None and not row[0]
