"""The books of an event loop: attempts that begin and end at the same moment are written in one transaction.

They are written where the loop runs, which takes less time than to hand them to a thread would.  Only when another
process has the ledger locked, or when it has to be opened first, a thread waits for it; what comes meanwhile is
written together after that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from llmroute.service.bookkeeping import answer_of
from llmroute.service.operations import Settle

if TYPE_CHECKING:
    from llmroute.ledger.memory import Lesson
    from llmroute.ledger.rows import AttemptRow
    from llmroute.service.bookkeeping import Bookkeeper, Outcome
    from llmroute.service.operations import Begin
    from llmroute.service.threads import Threads


class _Waiting(NamedTuple):
    operation: Begin | Settle
    done: asyncio.Future[Outcome]


class GroupedBooks:
    """Writes what the requests of one event loop begin and settle."""

    def __init__(self, books: Bookkeeper, threads: Threads) -> None:
        self._books = books
        self._threads = threads
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Future[list[Outcome]] | None = None

    async def begin(self, beginning: Begin) -> int | None:
        """As `Bookkeeper.begin`."""
        return answer_of(await self._written(beginning))

    async def settle(self, settlement: Settle) -> None:
        """As `Bookkeeper.settle`."""
        await self._written(settlement)

    def leave(self, row: AttemptRow, lesson: Lesson) -> None:
        """Write how an attempt ended whose task is cancelled: at once, or in a thread where that would have to wait."""
        settlement = Settle(row, lesson)
        if self._books.write_at_once([settlement]) is None:
            self._threads.start(lambda: self._books.write_late([settlement]))

    async def _written(self, operation: Begin | Settle) -> Outcome:
        loop = asyncio.get_running_loop()
        if not self._waiting and self._writing is None:
            # When the loop has let everybody run who is ready to.
            loop.call_soon(self._write)
        waiting = _Waiting(operation, loop.create_future())
        self._waiting.append(waiting)
        return await waiting.done

    def _write(self) -> None:
        # Who was cancelled while waiting settles by itself.
        group = [waiting for waiting in self._waiting if not waiting.done.done()]
        self._waiting = []
        if not group:
            return
        operations = [waiting.operation for waiting in group]
        try:
            outcomes = self._books.write_at_once(operations)
        except Exception as error:  # noqa: BLE001 (a bug, which must not leave anybody waiting)
            _fail(group, error)
            return
        if outcomes is not None:
            _answer(group, outcomes)
            return
        self._writing = self._threads.submit(lambda: self._books.write(operations))
        self._writing.add_done_callback(lambda done: self._written_in_thread(group, done))

    def _written_in_thread(self, group: list[_Waiting], done: asyncio.Future[list[Outcome]]) -> None:
        self._writing = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is None:
            _answer(group, done.result())
        else:
            _fail(group, error)
        if self._waiting:
            self._write()


def _answer(group: list[_Waiting], outcomes: list[Outcome]) -> None:
    for waiting, outcome in zip(group, outcomes, strict=True):
        if not waiting.done.done():
            waiting.done.set_result(outcome)


def _fail(group: list[_Waiting], error: BaseException) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
