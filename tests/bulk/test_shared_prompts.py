"""Requests of a batch that begin alike are marked by themselves, and one of them goes first."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.bulk.shared_prompts import AHEAD, SharedPrompts, read_ahead
from llmroute.request.options import Options
from tests.support.fault_server import serving
from tests.support.provider_servers import ANTHROPIC, OPENAI, House, anthropic_answer, openai_answer, openai_error

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.bulk.batch_result import BatchResult
    from tests.support.fault_server import Received, Script

LONG = "Answer in one word. " * 2_000
SHORT = "Answer in one word."


async def gathered(house: House, requests: Any, **how: Any) -> list[BatchResult]:
    async with house.service() as service:
        return [result async for result in service.generate_many(requests, **how)]


def bodies(received: list[Received]) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in received]


def marks(house: House, received: list[Received], requests: Any) -> list[bool]:
    """Answer requests one at a time, and return which had a mark."""
    asyncio.run(gathered(house, requests, jobs=1))
    return ["cache_control" in str(body) for body in bodies(received)]


def asked(system: str | None = LONG, count: int = 3, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"q{number}", "system": system, "model": ANTHROPIC, **more} for number in range(count)]


def test_a_long_system_prompt_is_marked_where_two_requests_share_it(tmp_path: Path) -> None:
    with serving([anthropic_answer()]) as server:
        house = House(tmp_path, anthropic=server)
        assert marks(house, server.received, asked()) == [True] * 3
        systems = [body["system"] for body in bodies(server.received)]
        assert systems == [[{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]] * 3


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(asked(count=1), id="one request"),
        pytest.param(asked(SHORT), id="a short prompt"),
        pytest.param([{**one, "system": LONG + str(at)} for at, one in enumerate(asked())], id="each its own prompt"),
        pytest.param(
            [{**one, "effort": effort} for one, effort in zip(asked(count=2), ("low", "high"), strict=True)],
            id="another effort",
        ),
    ],
)
def test_nothing_is_marked_where_nothing_is_worth_a_place(requests: list[dict[str, Any]], tmp_path: Path) -> None:
    with serving([anthropic_answer()]) as server:
        house = House(tmp_path, anthropic=server)
        assert not any(marks(house, server.received, requests))


def test_openai_gets_a_common_key(tmp_path: Path) -> None:
    with serving([openai_answer("yes")]) as server:
        house = House(tmp_path, openai=server)
        asyncio.run(gathered(house, [{**one, "model": OPENAI} for one in asked()], jobs=2))
        keys = {body["prompt_cache_key"] for body in bodies(server.received)}
    assert len(keys) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_one_request_of_a_shared_beginning_goes_first_and_the_others_when_it_is_answered(
    fails: bool, tmp_path: Path
) -> None:
    seen = threading.Semaphore(0)
    inside: list[int] = []

    def script(_received: Received) -> Script:
        first = len(server.received) == 1
        inside.append(len(server.received))
        if first:
            # Others that were sent meanwhile would be counted by now.
            seen.acquire(timeout=0.3)
            inside.append(len(server.received))
            return [openai_error(400)] if fails else [openai_answer("yes")]
        seen.release()
        return [openai_answer("yes")]

    requests = [{**one, "model": OPENAI} for one in asked(count=6)]
    with serving(script) as server:
        results = asyncio.run(gathered(House(tmp_path, openai=server), requests, jobs=6))
    assert inside[:2] == [1, 1]
    assert [result.response is not None for result in results] == [not fails] + [True] * 5


def test_a_batch_that_will_take_more_than_five_minutes_is_cached_for_an_hour(tmp_path: Path) -> None:
    with serving([anthropic_answer()]) as server:
        house = House(tmp_path, anthropic=server)
        asyncio.run(gathered(house, asked(count=3) + asked("another", count=600, prompt=""), jobs=1))
        controls = [body["system"][0]["cache_control"] for body in bodies(server.received)]
    assert controls == [{"type": "ephemeral", "ttl": "1h"}] * 3


def test_the_worst_case_of_a_marked_request_is_that_of_a_write_to_the_cache(tmp_path: Path) -> None:
    with serving([anthropic_answer()]) as server:
        house = House(tmp_path, anthropic=server)
        usual: dict[str, Any] = {"budget_remaining": 5.0, "max_tokens": 10}
        asyncio.run(gathered(house, asked(count=2, **usual) + asked(SHORT, count=1200, prompt="", **usual), jobs=1))
        asyncio.run(gathered(house, asked(count=1, **usual), jobs=1))
    hour, _, plain = (reserved for (reserved,) in house.rows("reserved_picousd"))
    assert 1.5 < hour / plain < 1.7, "twice the price of input in place of a quarter more"


def test_shared_attachments_are_a_longer_beginning_than_the_system_prompt() -> None:
    shared = SharedPrompts()
    both = Options(prompt="a", system=LONG, attachments=("one.png", "two.png"))
    shared.note(both)
    assert shared.part_of(both) is None
    shared.note(Options(prompt="b", system=LONG, attachments=("one.png", "other.png")))
    part = shared.part_of(both)
    assert part is not None
    assert part.attachments == 1
    shared.note(Options(prompt="c", system=LONG))
    assert shared.part_of(both) == part


def test_the_beginnings_that_are_counted_are_bounded() -> None:
    shared = SharedPrompts()
    for number in range(20_000):
        shared.note(Options(prompt="a", attachments=(f"{number}.png",)))
    assert len(shared._counts) < 5_000


def test_reading_ahead_is_bounded_by_number_and_by_length() -> None:
    taken: list[int] = []
    few = read_ahead(range(1_000), lambda number: taken.append(number) or 0)  # type: ignore[func-returns-value]
    assert next(few) == 0
    assert len(taken) == AHEAD + 1
    assert [0, *few] == list(range(1_000))
    taken.clear()
    long = read_ahead(range(1_000), lambda number: taken.append(number) or 3_000_000)  # type: ignore[func-returns-value]
    assert next(long) == 0
    assert len(taken) == 2
