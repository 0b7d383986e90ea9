"""Many requests at once, with constant memory: so many workers, each of which sees one request after another through.

A request that failed for what passes by itself (exit code 4: rate limits, outages, time-outs) is made again after a
pause that grows.  When nothing has been answered for a whole deadline, or the money is spent, no more are taken.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.errors import AllProvidersFailedError, BudgetExceededError, LLMRouteError
from llmroute.exit_codes import NEEDS_A_PERSON, TRY_LATER
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable

    from llmroute.request.options import Options
    from llmroute.types import AttemptRecord

PAUSES_S = (2.0, 4.0, 8.0, 16.0, 30.0)
# When all that is asked fails for so long, the rest would too.
PATIENCE_S = 300.0
# So many in a row that need a person (a key, credit, a model), and no answer between: the next will need one too.
HOPELESS = 20
# In order, answers wait for those before them: so many times the workers, and so much text, at most.
AHEAD = 16
HELD_CHARACTERS = 16 * 1024 * 1024


class WorkItem(NamedTuple):
    """One of many requests: what is asked, or why it cannot be; `request` is what the caller knows it by."""

    asked: Options | LLMRouteError
    request: Any


class BatchResult(NamedTuple):
    """What came of one of many requests: a response or an error.  `request` is the request as it was given."""

    request: Any
    response: LLMResponse | None
    error: LLMRouteError | None


class WorkerPool:
    """Sees tasks through, `jobs` at once.

    `asking` returns what makes one request as often as it is called, or returns None where it may not be made again: it
    yields the response, and goes on to settle it in the ledger when it is resumed.
    `deliver` takes each result, one at a time and an answer before it is settled; while it waits, so do the workers.
    With `in_order` results are delivered in the order of their tasks, else as they come.
    """

    def __init__(  # noqa: PLR0913 (two of them are how time and chance come in)
        self,
        asking: Callable[[Options], Callable[[], AsyncGenerator[str | LLMResponse] | None]],
        deliver: Callable[[BatchResult], Awaitable[None]],
        *,
        jobs: int,
        in_order: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._asking = asking
        self._deliver = deliver
        self._jobs = jobs
        self._in_order = in_order
        self._sleep = sleep
        self._jitter = jitter
        self._delivering = asyncio.Lock()
        self._taken = 0
        self._next_out = 0
        self._held: dict[int, BatchResult] = {}
        self._held_characters = 0
        self._behind: deque[asyncio.Future[None]] = deque()
        self._answered_at_s = 0.0
        self._under_way = 0
        self._hopeless = 0
        self._idle_since_s = 0.0
        self._cannot_take: Exception | None = None
        self._pauses: set[asyncio.Future[None]] = set()
        self._winding_down = False
        self.stopped_by: LLMRouteError | None = None

    async def run(self, take: Callable[[], Awaitable[WorkItem | None]]) -> None:
        """See every task through that `take` returns, until it returns None or `stopped_by` is set.

        Raises:
            Exception: what `take` has raised, when what was under way is seen through; what `deliver` raises, at once:
                what is under way is broken off and settled then.
        """
        self._answered_at_s = self._idle_since_s = asyncio.get_running_loop().time()
        taking = asyncio.Lock()
        await self._together(self._work(take, taking) for _ in range(self._jobs))
        if self._cannot_take is not None:
            raise self._cannot_take

    def held(self) -> list[BatchResult]:
        """Return the results that wait for others, in the order of their tasks: for when those will not come."""
        held = [self._held[number] for number in sorted(self._held)]
        self._held.clear()
        return held

    def stop(self, why: LLMRouteError) -> None:
        """Take no more tasks; what is under way is seen through, but not asked again."""
        self.stopped_by = self.stopped_by or why
        self._end_pauses()

    def wind_down(self) -> None:
        """Take no more tasks and ask nothing again; what waits for others or for its turn is left."""
        self._winding_down = True
        self._end_pauses()
        for turn in self._behind:
            turn.cancel()

    @property
    def _stopping(self) -> bool:
        return self.stopped_by is not None or self._winding_down

    def _end_pauses(self) -> None:
        for pause in self._pauses:
            pause.cancel()

    async def _work(self, take: Callable[[], Awaitable[WorkItem | None]], taking: asyncio.Lock) -> None:
        while True:
            async with taking:
                if self._stopping or self._cannot_take is not None:
                    return
                try:
                    task = await take()
                except Exception as error:  # noqa: BLE001 (whoever runs this gets it)
                    self._cannot_take = error
                    return
                if task is None:
                    return
                number = self._taken
                self._taken += 1
            await self._keep_near(number)
            await self._see_through(number, task)

    async def _see_through(self, number: int, task: WorkItem) -> None:
        asked = task.asked
        if isinstance(asked, LLMRouteError):
            await self._hand_over(number, BatchResult(task.request, None, asked))
            return
        loop = asyncio.get_running_loop()
        if not self._under_way:
            # While nobody was asked, nobody could answer.
            self._answered_at_s += loop.time() - self._idle_since_s
        self._under_way += 1
        try:
            await self._ask(number, task.request, asked)
        finally:
            self._under_way -= 1
            self._idle_since_s = loop.time()

    async def _ask(self, number: int, request: Any, asked: Options) -> None:
        """Make a request until it is answered, or fails for good."""
        before: tuple[AttemptRecord, ...] = ()
        ask = self._asking(asked)
        answer = ask()
        for pause_s in (*PAUSES_S, None):
            assert answer is not None
            try:
                await self._once(number, request, answer, before)
            except LLMRouteError as error:
                error.attempts = before = (*before, *error.attempts)
                passes = error.exit_code == TRY_LATER and _told_s(error) <= PATIENCE_S
                answer = ask() if passes and not self._stopping else None
                if pause_s is not None and answer is not None:
                    await self._pause(max(pause_s * (0.8 + 0.4 * self._jitter()), _told_s(error)))
                if pause_s is None or answer is None or self._stopping:
                    self._judge(error)
                    await self._hand_over(number, BatchResult(request, None, error))
                    return
            else:
                return

    async def _pause(self, seconds: float) -> None:
        """Wait before something is asked again, as long as anything is."""
        pause = asyncio.ensure_future(self._sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause])
        finally:
            self._pauses.discard(pause)
            pause.cancel()

    async def _once(
        self,
        number: int,
        request: Any,
        answer: AsyncGenerator[str | LLMResponse],
        before: tuple[AttemptRecord, ...],
    ) -> None:
        # Whoever leaves in the middle waits until the attempt is settled.
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                if isinstance(piece, LLMResponse):
                    self._answered_at_s = asyncio.get_running_loop().time()
                    self._hopeless = 0
                    await self._hand_over(number, BatchResult(request, piece.after(before), None))

    def _judge(self, error: LLMRouteError) -> None:
        """Stop where the next request would fail as this one has."""
        self._hopeless += error.exit_code == NEEDS_A_PERSON
        waited_s = asyncio.get_running_loop().time() - self._answered_at_s
        if (
            self._hopeless >= HOPELESS
            or (isinstance(error, BudgetExceededError) and not error.of_request)
            or (error.exit_code == TRY_LATER and max(waited_s, _told_s(error)) > PATIENCE_S)
        ):
            self.stop(error)

    async def _hand_over(self, number: int, result: BatchResult) -> None:
        if not self._in_order:
            async with self._delivering:
                await self._deliver(result)
            return
        self._held[number] = result
        self._held_characters += _size(result)
        async with self._delivering:
            while (ready := self._held.pop(self._next_out, None)) is not None:
                self._held_characters -= _size(ready)
                self._next_out += 1
                await self._deliver(ready)
        self._let_on()

    async def _keep_near(self, number: int) -> None:
        """Wait while a result would have to be held for too long; the first in the row never waits."""
        while self._in_order and number != self._next_out and self._is_far(number):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._behind.append(turn)
            await turn

    def _is_far(self, number: int) -> bool:
        return number - self._next_out >= AHEAD * self._jobs or self._held_characters > HELD_CHARACTERS

    async def _together(self, works: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run workers until all have ended; when one fails, or this is cancelled, the others are ended first."""
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not (task.cancelled() and self._winding_down):
                await task

    def _let_on(self) -> None:
        while self._behind:
            turn = self._behind.popleft()
            if not turn.done():
                turn.set_result(None)


def _told_s(error: LLMRouteError) -> float:
    """Return in how many seconds a provider wants to be asked again; where others failed otherwise, no wish binds."""
    if isinstance(error, AllProvidersFailedError) and len({attempt.error for attempt in error.attempts}) > 1:
        return 0.0
    return getattr(error, "retry_after_s", None) or 0.0


def _size(result: BatchResult) -> int:
    return 0 if result.response is None else len(result.response.content)
