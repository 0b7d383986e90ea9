"""Rate limits lower the concurrency of a provider, answers raise it, and no waiting call is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from llmroute.bulk.limiter import ConcurrencyLimiter, ProviderLimit

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def make_limiter(maximum: int = 8) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(maximum, lambda provider: provider == "here")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_the_429s_of_one_burst_halve_the_limit_once() -> None:
    limit = ProviderLimit(64, 64)
    limit.record_rate_limit(started_s=1.0, now_s=2.0, retry_after_s=None)
    limit.record_rate_limit(started_s=1.5, now_s=2.1, retry_after_s=None)
    assert limit.limit == 32
    limit.record_rate_limit(started_s=2.2, now_s=2.3, retry_after_s=None)
    assert limit.limit == 16


def test_a_round_of_answers_adds_an_eighth_of_the_maximum_up_to_the_maximum() -> None:
    limit = ProviderLimit(64, 16)
    for _ in range(16):
        limit.record_success()
    assert 22 < limit.limit <= 24
    for _ in range(10_000):
        limit.record_success()
    assert limit.limit == 64


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 100)), max_size=200))
def test_the_limit_never_falls_below_one_call(events: list[tuple[bool, float, float]]) -> None:
    limit = ProviderLimit(8, 8)
    for good, started_s, now_s in events:
        if good:
            limit.record_success()
        else:
            limit.record_rate_limit(started_s, now_s, 1.0)
        assert 1 <= limit.limit <= 8
    assert limit.has_room(102.0)


def test_a_shorter_retry_after_does_not_shorten_a_pause() -> None:
    limit = ProviderLimit(8, 8)
    limit.record_rate_limit(0.0, 10.0, 5.0)
    limit.record_rate_limit(0.0, 11.0, 1.0)
    assert not limit.has_room(14.9)
    assert limit.has_room(15.0)


def test_calls_beyond_the_limit_wait_in_order() -> None:
    async def work() -> None:
        limiter, entered = make_limiter(2), list[int]()

        async def call(number: int) -> None:
            await limiter.acquire("p")
            entered.append(number)
            await asyncio.sleep(0.001)
            limiter.release("p")

        await asyncio.gather(*(call(number) for number in range(20)))
        assert entered == list(range(20))
        assert limiter.limit("p").in_flight == 0

    run(work())


def test_calls_after_a_pause_respect_the_limit() -> None:
    async def work() -> None:
        limiter, inside = make_limiter(4), 0
        most = 0
        await limiter.acquire("p")
        limiter.record_rate_limit("p", asyncio.get_running_loop().time(), 0.05)
        limiter.release("p")

        async def call() -> None:
            nonlocal inside, most
            await limiter.acquire("p")
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
            limiter.release("p")

        await asyncio.gather(*(call() for _ in range(10)))
        assert most == 2

    run(work())


def test_a_cancelled_waiter_gives_its_turn_to_the_next() -> None:
    async def work() -> None:
        limiter = make_limiter(1)
        await limiter.acquire("p")
        waiting = [asyncio.create_task(limiter.acquire("p")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release("p")  # lets the second in, which is cancelled before it runs
        waiting[1].cancel()
        await asyncio.gather(waiting[2])
        assert limiter.limit("p").in_flight == 1

    run(work())


def test_a_local_provider_starts_with_a_low_limit() -> None:
    assert make_limiter(64).limit("here").limit == 4
    assert make_limiter(2).limit("here").limit == 2
    assert make_limiter(64).limit("there").limit == 64
