"""Group commit for an event loop: operations that come together are written in one transaction.

They are written in the thread of the loop, which is faster than handing them to another.  Only when another process has
the ledger locked, or when it must be opened first, a thread waits for it in short rounds: operations that come
meanwhile join the next round, and a request whose lock timeout is over does not wait for the others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from llmroute.execution.accounting.ledger_writer import answer_of
from llmroute.ledger.lock_timeout import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.execution.accounting.ledger_writer import LedgerOutcome, LedgerWriter
    from llmroute.execution.concurrency.threads import Threads
    from llmroute.execution.operations import Begin, Settle

# How long a thread waits for the ledger before the group is formed anew.
ROUND_S = 0.1
_LOOK_AGAIN_S = 0.01


class _Waiting(NamedTuple):
    """An operation, and until when, by the clock of the loop, it may wait for the ledger."""

    operation: Begin | Settle
    done: asyncio.Future[LedgerOutcome]
    until_s: float


class GroupCommitWriter:
    """Writes the operations of the requests of one event loop."""

    def __init__(self, writer: LedgerWriter, threads: Threads) -> None:
        self._writer = writer
        self._threads = threads
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Future[list[LedgerOutcome] | None] | None = None

    async def begin(self, beginning: Begin) -> int | None:
        """As `LedgerWriter.begin`."""
        return answer_of(await self._written(beginning))

    async def settle(self, settlement: Settle) -> None:
        """As `LedgerWriter.settle`."""
        await self._written(settlement)

    def settle_interrupted(self, settlement: Settle) -> None:
        """As `settle`, for an attempt whose task is cancelled: at once, or in a thread if the ledger is locked."""
        if self._writer.write_at_once([settlement]) is None:
            self._threads.start(lambda: self._writer.write_late([settlement]))

    async def _written(self, operation: Begin | Settle) -> LedgerOutcome:
        loop = asyncio.get_running_loop()
        patience = operation.patience or self._writer.access.patience()
        with patience.spent() as left_s:
            waiting = _Waiting(operation, loop.create_future(), loop.time() + left_s)
            if not self._waiting and self._writing is None:
                # After the tasks that are ready to run, whose operations join the group.
                loop.call_soon(self._write)
            self._waiting.append(waiting)
            return await waiting.done

    def _write(self) -> None:
        # A task that was cancelled while waiting settles by itself.
        group = [waiting for waiting in self._waiting if not waiting.done.done()]
        self._waiting = []
        if not group:
            return
        operations = [waiting.operation for waiting in group]
        try:
            outcomes = self._writer.write_at_once(operations)
        except Exception as error:  # noqa: BLE001 (a bug, which must not leave tasks waiting)
            _fail(group, error)
            return
        if outcomes is not None:
            _answer(group, outcomes)
            return
        left_s = min(waiting.until_s for waiting in group) - asyncio.get_running_loop().time()
        within_s = min(max(left_s, 0.0), ROUND_S)
        self._in_thread(group, lambda: self._writer.write_within(operations, within_s))

    def _in_thread(self, group: list[_Waiting], write: Callable[[], list[LedgerOutcome] | None]) -> None:
        self._writing = self._threads.submit(write)
        self._writing.add_done_callback(lambda done: self._written_in_thread(group, done))

    def _written_in_thread(self, group: list[_Waiting], done: asyncio.Future[list[LedgerOutcome] | None]) -> None:
        self._writing = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            _fail(group, error)
        elif (outcomes := done.result()) is not None:
            _answer(group, outcomes)
        else:
            self._wait_on(group)
            return
        if self._waiting:
            self._write()

    def _wait_on(self, group: list[_Waiting]) -> None:
        """Keep operations waiting until their timeout; write those past it once more, with the spool as a fallback."""
        loop = asyncio.get_running_loop()
        by_s = loop.time() + _LOOK_AGAIN_S
        over = [waiting for waiting in group if waiting.until_s <= by_s and not waiting.done.done()]
        self._waiting = [*(waiting for waiting in group if waiting.until_s > by_s), *self._waiting]
        if over:
            operations = [waiting.operation for waiting in over]
            self._in_thread(over, lambda: self._writer.write(operations, LockTimeout(0)))
        elif self._waiting:
            loop.call_later(_LOOK_AGAIN_S, self._write)


def _answer(group: list[_Waiting], outcomes: list[LedgerOutcome]) -> None:
    for waiting, outcome in zip(group, outcomes, strict=True):
        if not waiting.done.done():
            waiting.done.set_result(outcome)


def _fail(group: list[_Waiting], error: BaseException) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
