"""Ledger writes of many concurrent requests: an attempt begins when its provider and the budget have room for it."""

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


class ThrottledWriter:
    """Delays the beginning of attempts, in front of the group commit writer that `writer` returns.

    Under a budget (shared, or a cap in the configuration: `capped`), an attempt whose longest answer does not fit waits
    until others have settled for less than their reservation; only an attempt that is alone is shortened or rejected.
    `note_failure` is called for every failure that is not a rate limit.
    """

    def __init__(
        self,
        writer: Callable[[], GroupCommitWriter],
        limiter: ConcurrencyLimiter,
        shared_budget: SharedBudget | None,
        note_failure: Callable[[], None],
        *,
        capped: bool,
    ) -> None:
        self._writer = writer
        self._limiter = limiter
        self._shared_budget = shared_budget
        self._note_failure = note_failure
        self._has_budget = capped or shared_budget is not None
        # When each attempt in flight began, by request id and number of the attempt.
        self._started_s: dict[tuple[str, int], float] = {}
        self._admitting = asyncio.Lock()
        self._settled = asyncio.Event()
        self._winding_down = False
        self._sleepers: set[asyncio.Future[None]] = set()

    def wind_down(self) -> None:
        """Begin no more attempts: tasks that wait to begin one, or are about to, are cancelled."""
        self._winding_down = True
        self._limiter.cancel_waiters()
        for sleeper in self._sleepers:
            sleeper.cancel()
        self._settled.set()

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts of a request.

        Raises:
            CancelledError: no more attempts begin.
        """
        self._check_open()
        sleeper = asyncio.ensure_future(asyncio.sleep(seconds))
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            self._sleepers.discard(sleeper)
            sleeper.cancel()

    async def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending once it may begin; see `LedgerWriter.begin`.

        Raises:
            CancelledError: no more attempts begin.
        """
        row, loop = beginning.row, asyncio.get_running_loop()
        queued_s = loop.time()
        await self._limiter.acquire(row.provider)
        try:
            self._check_open()
            _exclude_wait(beginning, loop.time() - queued_s)
            longest = await (self._admit(beginning) if self._has_budget else self._writer().begin(beginning))
        except BaseException:
            self._limiter.release(row.provider)
            raise
        self._started_s[row.request_id, row.attempt] = loop.time()
        return longest

    async def _admit(self, beginning: Begin) -> int | None:
        """Begin an attempt when the budget has room for its longest answer, or when it is alone."""
        loop = asyncio.get_running_loop()
        queued_s = loop.time()
        async with self._admitting:
            while True:
                self._check_open()
                alone = not self._started_s
                self._settled.clear()
                _exclude_wait(beginning, loop.time() - queued_s)
                queued_s = loop.time()
                try:
                    return await self._writer().begin(beginning.with_complete(whole=not alone))
                except BudgetExceededError as error:
                    if alone or error.of_request:
                        raise
                await self._settled.wait()

    def _check_open(self) -> None:
        if self._winding_down:
            raise asyncio.CancelledError

    async def settle(self, settlement: Settle) -> None:
        """Write the end of an attempt, adjust the provider's limit, and let the next attempt begin."""
        row, error = settlement.row, settlement.error
        if (row.request_id, row.attempt) not in self._started_s:
            # The verdict of a check, after the attempt has ended.
            await self._writer().settle(settlement)
            return
        started_s = self._end(row) or 0.0
        if error is None:
            self._limiter.limit(row.provider).record_success()
        elif isinstance(error, RateLimitError):
            self._limiter.record_rate_limit(row.provider, started_s, error.retry_after_s)
        else:
            self._note_failure()
        self._limiter.release(row.provider)
        try:
            await self._writer().settle(settlement)
        finally:
            self._settled.set()

    def settle_interrupted(self, settlement: Settle) -> None:
        """As `settle`, for an attempt whose task is cancelled, whether it had begun or not."""
        row = settlement.row
        if self._end(row) is not None:
            self._limiter.release(row.provider)
        self._writer().settle_interrupted(settlement)
        self._settled.set()

    def _end(self, row: AttemptRow) -> float | None:
        """Charge an attempt to the shared budget; return when it began, None if it has not or has ended already."""
        started_s = self._started_s.pop((row.request_id, row.attempt), None)
        if started_s is not None and self._shared_budget is not None:
            self._shared_budget.pay(row)
        return started_s


def _exclude_wait(beginning: Begin, seconds: float) -> None:
    """Move the beginning of an attempt: the wait counts neither toward its deadline nor toward its latency."""
    beginning.clock.leave_out(seconds)
    milliseconds = round(seconds * 1000)
    row = beginning.row
    row.started_ms += milliseconds
    row.deadline_ms = None if row.deadline_ms is None else row.deadline_ms + milliseconds
