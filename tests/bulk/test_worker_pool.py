"""The pool runs every request with the given number of workers, through failures, retries and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.bulk import ordered_delivery, stop_rule
from llmroute.bulk.worker_pool import Rounds, WorkerPool, WorkItem
from llmroute.errors import (
    AuthenticationError,
    BudgetExceededError,
    InterruptedRequestError,
    LLMRouteError,
    RateLimitError,
    TransientError,
)
from llmroute.request.options import Options
from llmroute.types import AttemptRecord, LLMResponse, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.bulk.batch_result import BatchResult


def response(text: str) -> LLMResponse:
    attempt = AttemptRecord("p", "m", "ok", cost_usd=0.5)
    return LLMResponse(text, "p", "m", Usage(), 0.5, 1, None, "stop", (attempt,), "r")


Answer = Callable[[Options], AsyncGenerator[str | LLMResponse]]


def rounds_of(answer: Answer) -> Rounds:
    return lambda options, _on_attempt: lambda: answer(options)


class World:
    """Answers by the number of the request and of its call, and records delays instead of sleeping."""

    def __init__(self, behave: Callable[[int, int], Exception | None] = lambda _request, _call: None) -> None:
        self.behave = behave
        self.calls: list[int] = []
        self.settled = 0
        self.cancelled = 0
        self.inside = 0
        self.most_inside = 0
        self.slept: list[float] = []
        self.delivered: list[BatchResult] = []

    async def answer(self, options: Options) -> AsyncGenerator[str | LLMResponse]:
        number = int(options.prompt or "")
        self.calls.append(number)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            for _ in range(number * 7 % 5):
                await asyncio.sleep(0)
            if error := self.behave(number, self.calls.count(number)):
                raise error
            yield response(str(number))
            self.settled += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.inside -= 1

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def deliver(self, result: BatchResult) -> None:
        self.delivered.append(result)

    def run(self, count: int, *, jobs: int = 4, in_order: bool = True) -> WorkerPool:
        async def work() -> WorkerPool:
            pool = WorkerPool(
                rounds_of(self.answer),
                self.deliver,
                concurrency=jobs,
                in_order=in_order,
                sleep=self.sleep,
                jitter=lambda: 0.5,
            )
            tasks = iter([WorkItem(Options(prompt=str(number)), number) for number in range(count)])

            async def take() -> WorkItem | None:
                return next(tasks, None)

            await asyncio.wait_for(pool.run(take), 30)
            return pool

        return asyncio.run(work())

    @property
    def numbers(self) -> list[Any]:
        return [result.request for result in self.delivered]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.booleans(), st.sets(st.integers(0, 60)))
def test_every_request_has_one_result_and_no_more_than_jobs_run_at_once(
    count: int, jobs: int, in_order: bool, failing: set[int]
) -> None:
    world = World(lambda number, _call: AuthenticationError("no") if number in failing else None)
    world.run(count, jobs=jobs, in_order=in_order)
    assert sorted(world.numbers) == list(range(count))
    assert not in_order or world.numbers == list(range(count))
    assert world.most_inside <= jobs
    for result in world.delivered:
        assert (result.error is not None) == (result.request in failing)
        assert result.response is None or result.response.content == str(result.request)


async def cancelled(rounds: Rounds, items: Sequence[WorkItem], waiting: asyncio.Event) -> list[BatchResult]:
    """Run items at once, cancel the pool when `waiting` is set, and return the results of interrupted ones."""
    left = iter(items)

    async def take() -> WorkItem | None:
        return next(left, None)

    async def deliver(result: BatchResult) -> None:
        raise AssertionError(result)

    pool = WorkerPool(rounds, deliver, concurrency=len(items), in_order=True)
    running = asyncio.ensure_future(pool.run(take))
    await waiting.wait()
    running.cancel()
    await asyncio.wait([running])
    return pool.interrupted()


def test_a_request_that_is_cancelled_after_paid_attempts_is_returned_with_them() -> None:
    waiting = asyncio.Event()
    paid, free = AttemptRecord("p", "m", "rejected", cost_usd=0.5), AttemptRecord("p", "m", "failed", cost_usd=0.0)

    def rounds(options: Options, on_attempt: Callable[[AttemptRecord], None]) -> Callable[[], AsyncGenerator[Any]]:
        async def answer() -> AsyncGenerator[Any]:
            on_attempt(paid if options.prompt == "paid" else free)
            waiting.set()
            await asyncio.sleep(30)
            yield response("never")

        return answer

    items = [WorkItem(Options(prompt=prompt), prompt) for prompt in ("paid", "free")]
    (found,) = asyncio.run(cancelled(rounds, items, waiting))
    assert found.request == "paid"
    assert isinstance(found.error, InterruptedRequestError)
    assert found.error.attempts == (paid,)


@pytest.mark.parametrize(("status", "keeps"), [("ok", True), ("interrupted", False)])
def test_a_request_that_is_cancelled_during_its_check_keeps_the_answer(status: str, keeps: bool) -> None:
    paid = AttemptRecord("p", "m", status, cost_usd=0.25)
    answer, waiting = response("an answer"), asyncio.Event()

    def rounds(options: Options, on_attempt: Callable[[AttemptRecord], None]) -> Callable[[], AsyncGenerator[Any]]:
        async def one() -> AsyncGenerator[Any]:
            assert options.check is not None
            assert options.check(answer) is True
            try:
                waiting.set()
                await asyncio.sleep(60)
                yield answer
            finally:
                on_attempt(paid)

        return one

    items = [WorkItem(Options(prompt="p", check=lambda _response: True), "p")]
    (found,) = asyncio.run(cancelled(rounds, items, waiting))
    assert isinstance(found.error, InterruptedRequestError)
    assert found.error.response is (answer if keeps else None)


def test_a_temporary_failure_is_retried_with_growing_delays_and_every_attempt_is_reported() -> None:
    def behave(number: int, call: int) -> Exception | None:
        if number != 1 or call > 2:
            return None
        error = TransientError("down")
        error.attempts = (AttemptRecord("p", "m", "failed", cost_usd=0.25),)
        return error

    world = World(behave)
    world.run(3)
    assert world.calls.count(1) == 3
    assert world.slept == [2.0, 4.0]
    (told,) = (result.response for result in world.delivered if result.request == 1)
    assert told is not None
    assert [attempt.status for attempt in told.attempts] == ["failed", "failed", "ok"]
    assert told.cost_usd == 1.0


def test_a_longer_retry_after_replaces_the_delay_and_retries_end() -> None:
    world = World(lambda _number, _call: RateLimitError("later", retry_after_s=20.0))
    world.run(1)
    assert world.slept == [20.0, 20.0, 20.0, 20.0, 30.0]
    assert isinstance(world.delivered[0].error, RateLimitError)


def test_a_retry_after_beyond_the_outage_limit_is_not_waited_for() -> None:
    world = World(lambda _number, _call: RateLimitError("tomorrow", retry_after_s=3600.0))
    world.run(1)
    assert (len(world.calls), world.slept) == (1, [])


def test_consecutive_account_errors_stop_the_pool() -> None:
    world = World(lambda _number, _call: AuthenticationError("no"))
    pool = world.run(1000)
    assert isinstance(pool.stopped_by, AuthenticationError)
    assert stop_rule.MAX_ACCOUNT_ERRORS <= len(world.calls) < stop_rule.MAX_ACCOUNT_ERRORS + 10
    mixed = World(lambda number, _call: AuthenticationError("no") if number % 2 else None)
    assert mixed.run(200).stopped_by is None


def test_an_account_error_is_not_retried() -> None:
    world = World(lambda _number, _call: AuthenticationError("no"))
    world.run(1)
    assert (len(world.calls), world.slept) == (1, [])


def test_a_spent_budget_stops_the_pool_and_requests_in_flight_finish() -> None:
    world = World(lambda number, _call: BudgetExceededError("spent") if number == 5 else None)
    pool = world.run(1000)
    assert isinstance(pool.stopped_by, BudgetExceededError)
    assert len(world.delivered) < 20
    assert world.numbers == list(range(len(world.numbers)))


def test_the_budget_of_one_request_stops_that_request_only() -> None:
    def behave(number: int, _call: int) -> Exception | None:
        error = BudgetExceededError("too little")
        error.of_request = True
        return error if number == 5 else None

    world = World(behave)
    assert world.run(20).stopped_by is None
    assert len(world.delivered) == 20


def test_a_long_outage_stops_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_rule, "MAX_OUTAGE_S", 0.0)
    world = World(lambda _number, _call: TransientError("down"))
    pool = world.run(1000)
    assert isinstance(pool.stopped_by, TransientError)
    assert len(world.delivered) <= 8


def test_a_slow_first_request_holds_back_others_only_beyond_the_limit() -> None:
    started: list[int] = []

    async def work() -> None:
        first = asyncio.Event()

        async def answer(options: Options) -> AsyncGenerator[str | LLMResponse]:
            started.append(int(options.prompt or ""))
            if started[-1] == 0:
                await first.wait()
            yield response(options.prompt or "")

        delivered: list[int] = []

        async def deliver(result: BatchResult) -> None:
            delivered.append(result.request)

        numbers = iter(range(1000))

        async def take() -> WorkItem | None:
            number = next(numbers, None)
            return None if number is None else WorkItem(Options(prompt=str(number)), number)

        running = asyncio.ensure_future(WorkerPool(rounds_of(answer), deliver, concurrency=4, in_order=True).run(take))
        for _ in range(2000):
            await asyncio.sleep(0)
        assert delivered == []
        assert len(started) == 4 * ordered_delivery.MAX_AHEAD_PER_WORKER
        first.set()
        await asyncio.wait_for(running, 30)
        assert delivered == list(range(1000))

    asyncio.run(work())


def test_an_error_of_deliver_cancels_and_settles_everything() -> None:
    class BrokenError(Exception):
        pass

    world = World()

    async def deliver(_result: BatchResult) -> None:
        if len(world.calls) > 5:
            raise BrokenError
        await asyncio.sleep(0)

    async def work() -> None:
        numbers = iter(range(1000))

        async def take() -> WorkItem:
            number = next(numbers)
            return WorkItem(Options(prompt=str(number)), number)

        with pytest.raises(BrokenError):
            await asyncio.wait_for(
                WorkerPool(rounds_of(world.answer), deliver, concurrency=4, in_order=False).run(take), 30
            )

    asyncio.run(work())
    assert world.inside == 0
    assert len(world.calls) < 20


def test_an_invalid_request_has_its_place_in_the_order() -> None:
    delivered: list[BatchResult] = []

    async def work() -> None:
        tasks = iter(
            [
                WorkItem(Options(prompt="3"), "a"),
                WorkItem(LLMRouteError("bad"), "b"),
                WorkItem(Options(prompt="0"), "c"),
            ]
        )

        async def take() -> WorkItem | None:
            return next(tasks, None)

        async def deliver(result: BatchResult) -> None:
            delivered.append(result)

        await WorkerPool(rounds_of(World().answer), deliver, concurrency=3, in_order=True).run(take)

    asyncio.run(work())
    assert [result.request for result in delivered] == ["a", "b", "c"]
    assert str(delivered[1].error) == "bad"
