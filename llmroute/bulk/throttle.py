"""The books of many requests at once: an attempt begins when its provider has room for it, and the budget has too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.bulk.limiter import ConcurrencyLimiter
    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.execution.accounting.group_commit import GroupCommitWriter
    from llmroute.execution.operations import Begin, Settle
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.sqlite.observations import Observation


class ThrottledWriter:
    """Paces the attempts that begin by those that end; `note_failure` hears of each other failure.

    `books` returns those of the running loop.

    Under a budget an attempt whose longest answer does not fit waits for others to end, and to cost less than they
    might have; only one that is alone is cut down to what is left, or refused.
    """

    def __init__(
        self,
        books: Callable[[], GroupCommitWriter],
        gate: ConcurrencyLimiter,
        pot: SharedBudget | None,
        note_failure: Callable[[], None],
        *,
        capped: bool,
    ) -> None:
        self._books = books
        self._gate = gate
        self._pot = pot
        self._note_failure = note_failure
        self._bounded = capped or pot is not None
        self._began_s: dict[tuple[str, int], float] = {}
        self._admitting = asyncio.Lock()
        self._ended = asyncio.Event()
        self._winding_down = False
        self._resting: set[asyncio.Future[None]] = set()

    def wind_down(self) -> None:
        """Begin no attempt any more: tasks that wait to are cancelled, and so are those that come to it."""
        self._winding_down = True
        self._gate.turn_away()
        for rest in self._resting:
            rest.cancel()
        self._ended.set()

    async def rest(self, seconds: float) -> None:
        """Wait between two attempts of a request.

        Raises:
            CancelledError: no attempt begins any more.
        """
        self._check_open()
        rest = asyncio.ensure_future(asyncio.sleep(seconds))
        self._resting.add(rest)
        try:
            await rest
        finally:
            self._resting.discard(rest)
            rest.cancel()

    async def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending when it is its turn; see `Bookkeeper.begin`.

        Raises:
            CancelledError: no attempt begins any more.
        """
        row, loop = beginning.row, asyncio.get_running_loop()
        came_s = loop.time()
        await self._gate.enter(row.provider)
        try:
            self._check_open()
            _leave_out(beginning, loop.time() - came_s)
            longest = await (self._admitted(beginning) if self._bounded else self._books().begin(beginning))
        except BaseException:
            self._gate.leave(row.provider)
            raise
        self._began_s[row.request_id, row.attempt] = loop.time()
        return longest

    async def _admitted(self, beginning: Begin) -> int | None:
        loop = asyncio.get_running_loop()
        came_s = loop.time()
        async with self._admitting:
            while True:
                self._check_open()
                alone = not self._began_s
                self._ended.clear()
                _leave_out(beginning, loop.time() - came_s)
                came_s = loop.time()
                try:
                    return await self._books().begin(beginning.among_others(whole=not alone))
                except BudgetExceededError as refusal:
                    if alone or refusal.of_request:
                        raise
                await self._ended.wait()

    def _check_open(self) -> None:
        if self._winding_down:
            raise asyncio.CancelledError

    async def settle(self, settlement: Settle) -> None:
        """Write how an attempt ended, and let the next one begin."""
        row, error = settlement.row, settlement.error
        began_s = self._paid(row) or 0.0
        if error is None:
            self._gate.praise(row.provider)
        elif isinstance(error, RateLimitError):
            self._gate.blame(row.provider, began_s, error.retry_after_s)
        else:
            self._note_failure()
        self._gate.leave(row.provider)
        try:
            await self._books().settle(settlement)
        finally:
            self._ended.set()

    def leave(self, row: AttemptRow, lesson: Observation) -> None:
        """Write how an attempt ended that was broken off, whether it had begun or not, and let the next one begin."""
        if self._paid(row) is not None:
            self._gate.leave(row.provider)
        self._books().leave(row, lesson)
        self._ended.set()

    def _paid(self, row: AttemptRow) -> float | None:
        """Take what an attempt came to out of the pot; return when it began, None when it has not or has ended."""
        began_s = self._began_s.pop((row.request_id, row.attempt), None)
        if began_s is not None and self._pot is not None:
            self._pot.pay(row)
        return began_s


def _leave_out(beginning: Begin, seconds: float) -> None:
    """Let the attempt begin when its turn has come: neither its deadline nor what is learned of it counts the queue."""
    beginning.clock.leave_out(seconds)
    milliseconds = round(seconds * 1000)
    row = beginning.row
    row.started_ms += milliseconds
    row.deadline_ms = None if row.deadline_ms is None else row.deadline_ms + milliseconds
