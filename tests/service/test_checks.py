"""`check=`: a function of the caller's accepts or rejects each response."""

from __future__ import annotations

import asyncio
import decimal
import time
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import CheckError, CheckFaultError, LLMRouteError, LLMService, RequestError
from llmroute.execution.clock import Clock
from llmroute.ledger import lock_timeout
from tests.support.model_server import ModelServer
from tests.support.shell import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute import LLMResponse

CHEAP, DEAR = "openai/gpt-5.4-mini", "openai/gpt-5.4"


class _SignedAnswers(ModelServer):
    def words_for(self, body: dict[str, Any]) -> tuple[str, ...]:
        return (f"by {body['model']}",)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMService]:
    with _SignedAnswers() as server:
        for name, value in {**server.settings, "LLMROUTE_CONFIG_DIR": str(tmp_path / "llmroute")}.items():
            monkeypatch.setenv(name, value)
        made = LLMService()
        yield made
        made.close()


def _is_dear(response: LLMResponse) -> bool:
    return response.content == "by gpt-5.4"


def _raises(response: LLMResponse) -> None:
    if not _is_dear(response):
        raise ValueError("no\x1b[2J good")


async def _later(response: LLMResponse) -> bool:
    await asyncio.sleep(0)
    return _is_dear(response)


@pytest.mark.parametrize("check", [_is_dear, _raises])
def test_a_rejected_response_is_followed_by_the_next_model(service: LLMService, check: Any, tmp_path: Path) -> None:
    response = service.generate_sync("hi", model=CHEAP, fallback=DEAR, check=check)
    assert response.content == "by gpt-5.4"
    assert [attempt.status for attempt in response.attempts] == ["rejected", "ok"]
    costs = [attempt.cost_usd for attempt in response.attempts]
    assert response.cost_usd == pytest.approx(sum(cost or 0 for cost in costs))
    assert [row["status"] for row in rows(tmp_path)] == ["rejected", "ok"]


@pytest.mark.parametrize("check", [_is_dear, _raises, _later])
def test_awaited_requests_take_checks_of_both_kinds(service: LLMService, check: Any) -> None:
    response = asyncio.run(service.generate("hi", model=CHEAP, fallback=DEAR, check=check))
    assert response.content == "by gpt-5.4"


def test_where_all_are_rejected_the_error_names_the_reason_without_escapes(service: LLMService) -> None:
    with pytest.raises(CheckError, match=r"ValueError: no \[2J good") as caught:
        service.generate_sync("hi", model=CHEAP, enable_fallback=False, check=_raises)
    assert "\x1b" not in str(caught.value)
    assert [attempt.status for attempt in caught.value.attempts] == ["rejected"]


def test_a_fault_of_the_check_carries_the_response(service: LLMService, tmp_path: Path) -> None:
    def broken(_response: LLMResponse) -> bool:
        raise CheckFaultError("the test runner is missing")

    with pytest.raises(CheckFaultError, match="the test runner is missing") as caught:
        service.generate_sync("hi", model=CHEAP, fallback=DEAR, check=broken)
    assert caught.value.response is not None
    assert caught.value.response.content == "by gpt-5.4-mini"
    assert [row["status"] for row in rows(tmp_path)] == ["ok"]


def test_the_time_of_a_check_does_not_count_toward_the_timeout(
    service: LLMService, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = [0.0]

    def later() -> float:
        return time.monotonic() + passed_s[0]

    def slow(response: LLMResponse) -> bool:
        passed_s[0] += 1000
        return _is_dear(response)

    monkeypatch.setattr(Clock.__init__, "__defaults__", (later,))
    monkeypatch.setattr(lock_timeout, "monotonic", later)
    assert service.generate_sync("hi", model=CHEAP, fallback=DEAR, check=slow, timeout_s=60).content == "by gpt-5.4"


def test_an_asynchronous_check_of_a_blocking_call_is_refused_before_anything_is_sent(
    service: LLMService, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="asynchronous"):
        service.generate_sync("hi", model=CHEAP, check=_later)
    assert not (tmp_path / "ledger.db").exists()


def test_a_check_that_finds_nothing_to_iterate_rejects_an_awaited_response(service: LLMService) -> None:
    def empty(_response: LLMResponse) -> bool:
        verdicts: list[bool] = []
        return next(iter(verdicts))

    with pytest.raises(CheckError, match="StopIteration"):
        asyncio.run(service.generate("hi", model=CHEAP, enable_fallback=False, check=empty))


def test_a_cancelled_check_leaves_the_answer_settled(service: LLMService, tmp_path: Path) -> None:
    async def cancelled() -> None:
        started = asyncio.Event()

        async def endless(_response: LLMResponse) -> bool:
            started.set()
            await asyncio.sleep(60)
            return True

        task = asyncio.ensure_future(service.generate("hi", model=CHEAP, check=endless))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert [(row["status"], row["cost_basis"]) for row in rows(tmp_path)] == [("ok", "reported")]


def test_many_requests_are_checked_each(service: LLMService, tmp_path: Path) -> None:
    requests = [{"prompt": f"p{number}", "model": CHEAP, "fallback": DEAR, "check": _later} for number in range(12)]

    async def contents() -> list[str]:
        results = [result async for result in service.generate_many(requests, jobs=4)]
        return [result.response.content for result in results if result.response]

    assert asyncio.run(contents()) == ["by gpt-5.4"] * 12
    assert sorted(row["status"] for row in rows(tmp_path)) == ["ok"] * 12 + ["rejected"] * 12


def test_a_check_must_be_a_function_and_a_stream_takes_none(service: LLMService) -> None:
    with pytest.raises(RequestError, match="not a function"):
        service.generate_sync("hi", model=CHEAP, check="true")  # type: ignore[call-overload]
    with pytest.raises(LLMRouteError, match="stream"):
        list(service.stream_sync("hi", model=CHEAP, check=_is_dear))


class Unclear:
    """A result without a truth value, as an array has none."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@pytest.mark.parametrize("result", [0, "", decimal.Decimal(0), Unclear()])
def test_false_values_of_other_types_reject(service: LLMService, result: Any) -> None:
    with pytest.raises(CheckError):
        service.generate_sync("hi", model=CHEAP, enable_fallback=False, check=lambda _: result)


def test_a_check_without_a_result_accepts(service: LLMService) -> None:
    assert service.generate_sync("hi", model=CHEAP, enable_fallback=False, check=lambda _: None).content
