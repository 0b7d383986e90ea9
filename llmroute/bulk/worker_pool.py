"""A pool of workers that runs many requests concurrently in constant memory.

A request that fails temporarily (exit code 4: rate limits, outages, timeouts) is retried after a growing delay.  No
more requests start once nothing has been answered for five minutes, the budget is spent, or many requests in a row had
a configuration or account problem.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.bulk.batch_result import BatchResult
from llmroute.bulk.ordered_delivery import OrderedDelivery
from llmroute.bulk.stop_rule import StopRule, is_temporary, retry_after_s
from llmroute.errors import InterruptedRequestError, LLMRouteError
from llmroute.request.options import Options
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from llmroute.types import AttemptRecord, Check

RETRY_DELAYS_S = (2.0, 4.0, 8.0, 16.0, 30.0)

Round = AsyncGenerator[str | LLMResponse]
"""One round of attempts: yields the response, and settles it in the ledger when it is resumed."""
Rounds = Callable[[Options, Callable[["AttemptRecord"], None]], Callable[[], Round | None]]
"""Returns a function that starts the next round of a request, or returns None when it has no attempts left.

The second argument receives the record of each attempt that has ended.
"""
Take = Callable[[], Awaitable["WorkItem | None"]]


class WorkItem(NamedTuple):
    """One of many requests: its options, or the error that makes it invalid; `request` is the caller's own object."""

    options: Options | LLMRouteError
    request: Any


class WorkerPool:
    """Runs requests, `concurrency` of them at once.

    `deliver` gets each result, one at a time and an answer before it is settled; while it waits, so do the workers.
    With `in_order`, results are delivered in the order of their requests, otherwise on completion.  `sleep` waits for
    some seconds, and `jitter` returns a random number from 0 to 1.
    """

    def __init__(  # noqa: PLR0913 (two are the sources of time and chance)
        self,
        rounds: Rounds,
        deliver: Callable[[BatchResult], Awaitable[None]],
        *,
        concurrency: int,
        in_order: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._rounds = rounds
        self._delivery = OrderedDelivery(deliver, _length, workers=concurrency, in_order=in_order)
        self._concurrency = concurrency
        self._sleep = sleep
        self._jitter = jitter
        self._taken = 0
        self._stop_rule = StopRule()
        self._take_error: Exception | None = None
        self._delays: set[asyncio.Future[None]] = set()
        self._winding_down = False
        self._interrupted: list[BatchResult] = []
        self.stopped_by: LLMRouteError | None = None

    async def run(self, take: Take) -> None:
        """Run every request that `take` returns, until it returns None or `stopped_by` is set.

        Raises:
            Exception: an error of `take`, after the requests in flight have finished; an error of `deliver`, at once:
                the requests in flight are cancelled and settled.
        """
        taking = asyncio.Lock()
        await self._run_workers(self._work(take, taking) for _ in range(self._concurrency))
        if self._take_error is not None:
            raise self._take_error

    def held(self) -> list[BatchResult]:
        """Return, and forget, the results that wait for earlier ones that will not come."""
        return self._delivery.take_held()

    def interrupted(self) -> list[BatchResult]:
        """Return the requests that were cancelled after an attempt that may have cost something, with their attempts.

        The result of a request that was cancelled last of all may have been delivered already.
        """
        return self._interrupted

    def stop(self, reason: LLMRouteError) -> None:
        """Start no more requests; those in flight finish without further retries."""
        self.stopped_by = self.stopped_by or reason
        self._end_delays()

    def wind_down(self) -> None:
        """Start no more requests or retries; results that wait for others, and requests that wait, are abandoned."""
        self._winding_down = True
        self._end_delays()
        self._delivery.cancel_waiters()

    @property
    def _stopping(self) -> bool:
        return self.stopped_by is not None or self._winding_down

    def _end_delays(self) -> None:
        for delay in self._delays:
            delay.cancel()

    async def _work(self, take: Take, taking: asyncio.Lock) -> None:
        while True:
            async with taking:
                if self._stopping or self._take_error is not None:
                    return
                try:
                    item = await take()
                except Exception as error:  # noqa: BLE001 (raised by `run`)
                    self._take_error = error
                    return
                if item is None:
                    return
                number = self._taken
                self._taken += 1
            await self._delivery.wait_for_room(number)
            await self._run_item(number, item)

    async def _run_item(self, number: int, item: WorkItem) -> None:
        options = item.options
        if isinstance(options, LLMRouteError):
            await self._delivery.add(number, BatchResult(item.request, None, options))
            return
        self._stop_rule.note_begin()
        made: list[AttemptRecord] = []
        checked: list[LLMResponse] = []
        if options.check is not None:
            options = replace(options, check=_noted(options.check, checked))
        try:
            await self._run_rounds(number, item.request, self._rounds(options, made.append))
        except asyncio.CancelledError:
            if any(attempt.cost_usd != 0 for attempt in made):
                error = InterruptedRequestError("interrupted before the request had a result", attempts=made)
                # The last answer is not rejected: its check had no result yet.
                error.response = checked[-1] if checked and made[-1].status == "ok" else None
                self._interrupted.append(BatchResult(item.request, None, error))
            raise
        finally:
            self._stop_rule.note_end()

    async def _run_rounds(self, number: int, request: Any, start_round: Callable[[], Round | None]) -> None:
        """Run rounds of a request until it is answered or no retry is left."""
        attempts: tuple[AttemptRecord, ...] = ()
        current = start_round()
        for delay_s in (*RETRY_DELAYS_S, None):
            assert current is not None
            try:
                await self._run_round(number, request, current, attempts)
            except LLMRouteError as error:
                error.attempts = attempts = (*attempts, *error.attempts)
                current = start_round() if is_temporary(error) and not self._stopping else None
                if delay_s is not None and current is not None:
                    await self._wait(max(delay_s * (0.8 + 0.4 * self._jitter()), retry_after_s(error)))
                if delay_s is None or current is None or self._stopping:
                    if self._stop_rule.stops_after(error):
                        self.stop(error)
                    await self._delivery.add(number, BatchResult(request, None, error))
                    return
            else:
                return

    async def _wait(self, seconds: float) -> None:
        """Wait before a retry; returns early when the pool stops."""
        delay = asyncio.ensure_future(self._sleep(seconds))
        self._delays.add(delay)
        try:
            await asyncio.wait([delay])
        finally:
            self._delays.discard(delay)
            delay.cancel()

    async def _run_round(self, number: int, request: Any, current: Round, earlier: tuple[AttemptRecord, ...]) -> None:
        # Closing waits until the attempt is settled.
        async with aclosing(current) as pieces:
            async for piece in pieces:
                if isinstance(piece, LLMResponse):
                    self._stop_rule.note_answer()
                    await self._delivery.add(number, BatchResult(request, piece.after(earlier), None))

    async def _run_workers(self, workers: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run workers until all have ended; if one fails or this is cancelled, cancel the others first."""
        tasks = [asyncio.ensure_future(worker) for worker in workers]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not (task.cancelled() and self._winding_down):
                await task


def _length(result: BatchResult) -> int:
    return 0 if result.response is None else len(result.response.content)


def _noted(check: Check, checked: list[LLMResponse]) -> Check:
    """Return a check that notes the response before it is checked."""

    def noting(response: LLMResponse) -> Awaitable[bool | None] | bool | None:
        checked.append(response)
        return check(response)

    return noting
