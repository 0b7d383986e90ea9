"""`generate_many` with real servers, a real ledger, and readers that leave early."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import exit_codes
from llmroute.bulk import plan_cache, worker_pool
from llmroute.errors import BudgetExceededError, DeadlineError, RequestError
from llmroute.execution.prepare import RequestFactory
from llmroute.execution.timeouts import AttemptTime
from llmroute.request.options import Options
from llmroute.routing import fallback
from tests.support.attached_files import gif, png
from tests.support.fault_server import Pause, Reset, serving
from tests.support.provider_servers import ANTHROPIC, OPENAI, House, anthropic_answer, openai_answer, openai_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from llmroute.bulk.batch_result import BatchResult
    from llmroute.planning.planner import Planner
    from llmroute.request.rendered import RenderedRequest
    from tests.support.fault_server import Received, Script


def echo(received: Received) -> Script:
    return [openai_answer(json.loads(received.body)["messages"][-1]["content"])]


async def gathered(house: House, requests: Any, **how: Any) -> list[BatchResult]:
    async with house.service() as service:
        return [result async for result in service.generate_many(requests, **how)]


def contents(results: Iterable[BatchResult]) -> list[str | None]:
    return [result.response.content if result.response else None for result in results]


def test_prompts_mappings_and_options_are_answered_in_order_with_their_requests(tmp_path: Path) -> None:
    requests = ["one", {"prompt": "two", "max_tokens": 5}, Options(prompt="three", workspace_id="w")]
    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        results = asyncio.run(gathered(house, requests, jobs=2))
        sent = [json.loads(one.body) for one in server.received]
    assert contents(results) == ["one", "two", "three"]
    assert [result.request for result in results] == requests
    assert sum("max_completion_tokens" in one or "max_tokens" in one for one in sent) == 1
    assert house.rows("workspace, status") == [(None, "ok"), (None, "ok"), ("w", "ok")]


def test_an_endless_async_iterable_is_read_only_as_needed(tmp_path: Path) -> None:
    asked = 0

    async def endless() -> AsyncIterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield str(asked)

    async def work(house: House) -> list[str | None]:
        async with house.service() as service:
            results = service.generate_many(endless(), jobs=4)
            found = []
            async for result in results:
                found.append(result)
                if len(found) == 5:
                    break
            await results.aclose()  # type: ignore[attr-defined]
        return contents(found)

    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        assert asyncio.run(work(house)) == ["1", "2", "3", "4", "5"]
    assert asked < 40
    assert {status for (status,) in house.rows("status")} <= {"ok", "interrupted"}


def test_an_invalid_request_is_an_error_in_its_place_and_stops_nothing(tmp_path: Path) -> None:
    requests = ["a", {"prompt": "b", "temprature": 1}, "", {"prompt": "c", "temperature": 9}, "d"]
    with serving(echo) as server:
        results = asyncio.run(gathered(House(tmp_path, openai=server), requests))
    assert contents(results) == ["a", None, None, None, "d"]
    assert all(isinstance(result.error, RequestError) for result in results[1:4])
    assert "temprature" in str(results[1].error)


@pytest.mark.parametrize(
    "wrong", [{"temperature": "hot"}, {"stop": 5}, {"model": 5}, {"messages": "abc"}, {"workspace_id": ["x"]}]
)
def test_a_value_of_the_wrong_type_is_an_error_in_its_place(wrong: dict[str, Any], tmp_path: Path) -> None:
    requests = ["a", {"prompt": "b", **wrong}, None, "c"]
    with serving(echo) as server:
        results = asyncio.run(gathered(House(tmp_path, openai=server), requests))
    assert contents(results) == ["a", None, None, "c"]
    assert all(isinstance(result.error, RequestError) for result in results[1:3])


@pytest.mark.parametrize("one", ["hello", {"prompt": "hello"}, b"hello"])
def test_a_single_request_is_rejected(one: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a list of them"):
        asyncio.run(gathered(House(tmp_path), one))


def test_an_iterable_that_ends_in_a_cancellation_does_not_block_the_reader(tmp_path: Path) -> None:
    async def cancelled() -> AsyncIterator[str]:
        yield "a"
        raise asyncio.CancelledError

    with serving(echo) as server, pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(gathered(House(tmp_path, openai=server), cancelled()), 20))


def test_the_budget_of_a_request_covers_all_its_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "RETRY_DELAYS_S", (0.0,) * 5)
    half = openai_answer("x" * 400)[:-200]
    request = {"prompt": "x", "model": OPENAI, "max_tokens": 1000, "budget_remaining": 0.003, "enable_fallback": False}
    with serving([half, Reset()]) as server:
        house = House(tmp_path, openai=server)
        (result,) = asyncio.run(gathered(house, [request]))
    assert result.error is not None
    assert sum(cost for (cost,) in house.rows("cost_picousd")) <= 0.003 * 10**12


DOWN = [openai_error(503)]


@pytest.mark.parametrize(("said", "calls"), [({}, 8), ({"max_attempts": 3}, 3), ({"max_attempts": 1}, 1)])
@pytest.mark.parametrize("models", [[OPENAI], ["openai/a", "openai/b"]], ids=["one", "two"])
def test_all_rounds_of_a_request_together_respect_max_attempts(
    said: dict[str, Any], calls: int, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "RETRY_DELAYS_S", (0.0,) * 5)
    monkeypatch.setattr(fallback, "RETRY_PAUSE_S", 0.0)
    # A plan that is made anew between two rounds leaves out a model whose circuit has opened.
    monkeypatch.setattr(plan_cache, "MAX_AGE_S", 1e9)
    monkeypatch.setattr(plan_cache, "MAX_AGE_AFTER_FAILURE_S", 1e9)
    first, *others = models
    with serving(DOWN) as server:
        house = House(tmp_path, openai=server)
        asked = {"prompt": "x", "model": first, "fallback": others, "enable_fallback": bool(others), **said}
        (result,) = asyncio.run(gathered(house, [asked]))
    assert result.error is not None
    assert len(result.error.attempts) == len(house.rows()) == calls
    called = Counter(attempt.model for attempt in result.error.attempts)
    assert len(called) == min(len(models), calls)
    assert max(called.values()) - min(called.values()) <= 1


def test_all_fallbacks_are_tried_before_a_model_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "RETRY_DELAYS_S", (0.0,) * 5)
    with serving(DOWN) as server:
        house = House(tmp_path, openai=server)
        (result,) = asyncio.run(gathered(house, [{"prompt": "x", "model": OPENAI}]))
    assert result.error is not None
    called = [attempt.model for attempt in result.error.attempts]
    assert len(called) == len(set(called)) == 8


def test_an_outage_shorter_than_the_rounds_loses_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "RETRY_DELAYS_S", (0.0,) * 5)
    asked: Counter[str] = Counter()

    def down_six_times(received: Received) -> Script:
        prompt = json.loads(received.body)["messages"][-1]["content"]
        asked[prompt] += 1
        return echo(received) if asked[prompt] > 6 else DOWN

    with serving(down_six_times) as server:
        results = asyncio.run(gathered(House(tmp_path, openai=server), [{"prompt": "a", "model": OPENAI}, "b"]))
    assert contents(results) == ["a", "b"]
    assert [len(result.response.attempts) for result in results if result.response] == [7, 7]


def test_an_error_of_the_iterable_is_raised_after_the_requests_in_flight_are_answered(tmp_path: Path) -> None:
    def broken() -> Iterable[str]:
        yield from ("a", "b", "c")
        raise ZeroDivisionError

    found: list[BatchResult] = []

    async def work(house: House) -> None:
        async with house.service() as service:
            async for result in service.generate_many(broken(), jobs=4):
                found.append(result)  # noqa: PERF401 (what came before the error is looked at)

    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(work(house))
    assert contents(found) == ["a", "b", "c"]
    assert house.rows("status") == [("ok",)] * 3


def test_a_budget_covers_all_requests_together(tmp_path: Path) -> None:
    request = {"prompt": "x", "model": OPENAI, "max_tokens": 100, "enable_fallback": False}
    with serving(lambda _received: [Pause(0.01), openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        (one,) = asyncio.run(gathered(house, [request]))
        assert one.response is not None
        assert one.response.cost_usd is not None
        budget_usd = 0.0005 + 10 * one.response.cost_usd
        results = asyncio.run(gathered(house, [request] * 1000, jobs=8, budget_usd=budget_usd))
    spent = sum(result.response.cost_usd or 0 for result in results if result.response)
    assert 0 < spent <= budget_usd
    assert isinstance(results[-1].error, BudgetExceededError)
    assert len(results) < 200


@pytest.mark.parametrize("how", [{"jobs": 0}, {"jobs": 5000}, {"budget_usd": -1.0}])
def test_invalid_arguments_are_rejected_before_the_first_request(how: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        asyncio.run(gathered(House(tmp_path), ["a"], **how))


def test_the_next_provider_answers_while_the_first_has_no_room(tmp_path: Path) -> None:
    lock, inside = threading.Lock(), 0

    def crowded(_received: Received) -> Script:
        nonlocal inside
        with lock:
            inside += 1
            refused = inside > 2
        time.sleep(0.3)
        with lock:
            inside -= 1
        return [openai_error(429, retry_after="1")] if refused else [anthropic_answer("anthropic")]

    with serving(crowded) as narrow, serving(lambda _received: [Pause(0.3), openai_answer("openai")]) as wide:
        house = House(tmp_path, openai=wide, anthropic=narrow)
        requests = [{"prompt": f"{n}", "strategy": "quality_optimized"} for n in range(80)]
        results = asyncio.run(gathered(house, requests, jobs=16))
    answered = Counter(contents(results))
    assert set(answered) == {"openai", "anthropic"}
    assert sum(answered.values()) == 80
    # Who waits for its turn at one provider goes to the other, instead of being refused first.
    refused = sum(row[0] == "rate_limit" for row in house.rows("error"))
    assert refused < answered["openai"]


def test_similar_requests_share_a_plan_and_have_their_own_costs(tmp_path: Path) -> None:
    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        requests = [{"prompt": "x" * size, "model": OPENAI, "enable_fallback": False} for size in (100, 101, 102)]
        results = asyncio.run(gathered(house, requests))
    assert all(result.response for result in results)
    reserved = house.rows("reserved_picousd")
    assert len(set(reserved)) == 3, "each prompt's own worst case"


def test_similar_attachments_share_a_plan_and_one_that_a_provider_refuses_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = []
    plan_one = RequestFactory.planner

    def counted(self: RequestFactory, request: RenderedRequest, **how: Any) -> Planner:
        planned.append(request)
        return plan_one(self, request, **how)

    monkeypatch.setattr(RequestFactory, "planner", counted)
    monkeypatch.setattr("llmroute.bulk.plan_cache.MAX_AGE_S", 60.0)
    with serving(lambda _received: [openai_answer()]) as openai, serving(lambda _: [anthropic_answer()]) as anthropic:
        house = House(tmp_path, openai=openai, anthropic=anthropic)
        images = [gif(540, 360, frames=2), *(png(540 + number, 360) for number in range(6))]
        listed = {"prompt": "x", "fallback": [OPENAI, ANTHROPIC]}
        requests = [{**listed, "attachments": [image]} for image in images]
        results = asyncio.run(gathered(house, requests, jobs=1))
    assert [result.response.provider for result in results if result.response] == ["anthropic", *["openai"] * 6]
    assert len(planned) == 2


def test_an_attempt_that_ends_before_it_is_sent_frees_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = vars(AttemptTime)["left_s"].fget
    # The wait for the ledger took all the time of the first.
    overs = iter([-1.0])
    monkeypatch.setattr(AttemptTime, "left_s", property(lambda time: next(overs, None) or left(time)))
    with serving(echo) as server:
        house = House(tmp_path, openai=server)

        async def main() -> list[BatchResult]:
            async with asyncio.timeout(20):
                return await gathered(house, ["one", "two", "three"], jobs=1, budget_usd=1.0)

        results = asyncio.run(main())
    assert isinstance(results[0].error, DeadlineError)
    assert contents(results) == [None, "two", "three"]


def test_a_model_whose_answer_was_rejected_is_not_paid_again_while_the_others_are_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "RETRY_DELAYS_S", (0.0,) * 5)
    monkeypatch.setattr(fallback, "RETRY_PAUSE_S", 0.0)
    # Plans are made anew, without the models whose circuits have opened.
    monkeypatch.setattr(plan_cache, "MAX_AGE_S", 0.0)
    asked = {"prompt": "x", "model": OPENAI, "fallback": [ANTHROPIC], "enable_fallback": True, "check": lambda _: False}
    with serving(echo) as answering, serving(DOWN) as down:
        house = House(tmp_path, openai=answering, anthropic=down)
        (result,) = asyncio.run(gathered(house, [asked]))
    assert result.error is not None
    assert result.error.exit_code == exit_codes.TRY_LATER
    assert [row for row in house.rows("provider, status") if row[0] == "openai"] == [("openai", "rejected")]
