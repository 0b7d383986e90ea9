"""A provider that says "too many" gets fewer calls at once, and more again when it does not; nobody is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from llmroute.bulk.limiter import ConcurrencyLimiter, ProviderLimit

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def gate(most: int = 8) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(most, lambda provider: provider == "here")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_a_429_halves_once_for_all_calls_of_its_burst() -> None:
    lane = ProviderLimit(64, 64)
    lane.blame(began_s=1.0, now_s=2.0, retry_after_s=None)
    lane.blame(began_s=1.5, now_s=2.1, retry_after_s=None)
    assert lane.limit == 32
    lane.blame(began_s=2.2, now_s=2.3, retry_after_s=None)
    assert lane.limit == 16


def test_a_round_of_answers_adds_an_eighth_of_the_most_and_never_goes_beyond() -> None:
    lane = ProviderLimit(64, 16)
    for _ in range(16):
        lane.praise()
    assert 22 < lane.limit <= 24
    for _ in range(10_000):
        lane.praise()
    assert lane.limit == 64


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 100)), max_size=200))
def test_whatever_happens_one_call_may_always_be_made_in_the_end(events: list[tuple[bool, float, float]]) -> None:
    lane = ProviderLimit(8, 8)
    for good, began_s, now_s in events:
        if good:
            lane.praise()
        else:
            lane.blame(began_s, now_s, 1.0)
        assert 1 <= lane.limit <= 8
    assert lane.has_room(102.0)


def test_the_wish_to_be_asked_later_holds_for_everybody_and_is_not_shortened_by_a_shorter_one() -> None:
    lane = ProviderLimit(8, 8)
    lane.blame(0.0, 10.0, 5.0)
    lane.blame(0.0, 11.0, 1.0)
    assert not lane.has_room(14.9)
    assert lane.has_room(15.0)


def test_calls_beyond_the_limit_wait_for_their_turn_in_their_order() -> None:
    async def work() -> None:
        doors, entered = gate(2), list[int]()

        async def call(number: int) -> None:
            await doors.enter("p")
            entered.append(number)
            await asyncio.sleep(0.001)
            doors.leave("p")

        await asyncio.gather(*(call(number) for number in range(20)))
        assert entered == list(range(20))
        assert doors.lane("p").under_way == 0

    run(work())


def test_a_pause_ends_by_itself_and_lets_no_more_in_than_there_is_room_for() -> None:
    async def work() -> None:
        doors, inside = gate(4), 0
        most = 0
        await doors.enter("p")
        doors.blame("p", asyncio.get_running_loop().time(), 0.05)
        doors.leave("p")

        async def call() -> None:
            nonlocal inside, most
            await doors.enter("p")
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
            doors.leave("p")

        await asyncio.gather(*(call() for _ in range(10)))
        assert most == 2

    run(work())


def test_who_gives_up_waiting_leaves_its_turn_to_the_next() -> None:
    async def work() -> None:
        doors = gate(1)
        await doors.enter("p")
        waiting = [asyncio.create_task(doors.enter("p")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        doors.leave("p")  # lets the second in, which is cancelled before it runs
        waiting[1].cancel()
        await asyncio.gather(waiting[2])
        assert doors.lane("p").under_way == 1

    run(work())


def test_a_provider_on_this_machine_begins_with_few() -> None:
    assert gate(64).lane("here").limit == 4
    assert gate(2).lane("here").limit == 2
    assert gate(64).lane("there").limit == 64
