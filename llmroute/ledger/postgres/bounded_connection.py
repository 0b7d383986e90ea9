"""A connection whose statements are not waited for without end: a stopped server keeps its connections open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import TupleRow

if TYPE_CHECKING:
    from collections.abc import Generator

# How long a short statement waits for an answer, beside its lock timeout, and one that reads or writes much.
REPLY_S = 10.0
SLOW_REPLY_S = 600.0


class NoReplyError(psycopg.OperationalError):
    """The server did not answer in time; whether it executed the statement is unknown."""


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises NoReplyError from any statement where no answer has come within `reply_within_s`, and is closed then."""

    reply_within_s = SLOW_REPLY_S

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
        """Wait as `psycopg.Connection.wait`, which looks at the clock ten times a second."""
        try:
            return super().wait(_bounded(gen, time.monotonic() + self.reply_within_s), *arguments, **named)
        except NoReplyError:
            # The end of an open transaction would wait for as long again.
            self.close()
            raise


def _bounded(gen: Generator[Any, Any, Any], until_s: float) -> Generator[Any, Any, Any]:
    """Pass on what a generator waits for, until a time."""
    ready: Any = None
    while True:
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
        ready = yield wanted
        if not ready and time.monotonic() > until_s:
            gen.close()
            raise NoReplyError("the server does not answer")
