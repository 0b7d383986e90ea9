"""Budgets as a program meets them: concurrent requests, retries and cancelled tasks."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from llmroute.config import Limit
from llmroute.errors import BudgetExceededError, LLMRouteError
from llmroute.execution.accounting.budget import RequestBudget, Reservation, SharedBudget
from llmroute.execution.accounting.caps import current_caps
from llmroute.ledger.buckets import BUCKET_MS, DAY_MS
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning import settings
from llmroute.routing.token_estimate import LEAST_ANSWER_TOKENS, longest_answer
from llmroute.service.client import LLMService
from llmroute.worst_case import WorstCase
from tests.ledger.calls import NOW_MS
from tests.support.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "openai/gpt-5.4-mini"
CAP = 2 * 10**9


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelServer]:
    with ModelServer() as running:
        for name, value in running.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path / "config"))
        yield running


def service(*notes: list[str], cap: int | None = CAP) -> LLMService:
    config = settings.load()
    limits = () if cap is None else (Limit("month", "", cap),)
    return LLMService(config=replace(config, limits=limits), note=notes[0].append if notes else None)


def attempts(path: Path) -> list[tuple[str, int, int]]:
    with Ledger(path) as ledger:
        return ledger.db.execute("SELECT status, reserved_picousd, cost_picousd FROM attempts ORDER BY id").fetchall()


def test_concurrent_requests_of_one_program_keep_a_cap(server: ModelServer) -> None:
    server.pause_s = 0.05

    async def ask() -> list[object]:
        async with service() as llm:
            asked = [
                llm.generate("hi", model=MODEL, max_tokens=100, on_budget="refuse", enable_fallback=False)
                for _ in range(30)
            ]
            return list(await asyncio.gather(*asked, return_exceptions=True))

    told = asyncio.run(ask())
    refused = [one for one in told if isinstance(one, BudgetExceededError)]
    path = settings.load().ledger_path
    found = attempts(path)
    assert 0 < len(refused) < 30
    assert len(server.requests) == len(found) == 30 - len(refused)
    assert sum(cost for _, _, cost in found) <= CAP
    assert check(path, NOW_MS).faults == ()


def test_a_retry_has_what_the_first_attempt_left(server: ModelServer) -> None:
    server.words = (" ",)

    async def ask() -> None:
        async with service(cap=None) as llm:
            await llm.generate("hi", model=MODEL, budget_remaining=0.001, enable_fallback=False)

    with pytest.raises(LLMRouteError):
        asyncio.run(ask())
    first, second = attempts(settings.load().ledger_path)
    assert first[2] > 0
    assert first[1] <= 10**9
    assert second[1] + first[2] <= 10**9
    bounds = [request["max_completion_tokens"] for request in server.requests]
    assert bounds[1] < bounds[0]


def test_a_retry_that_no_longer_fits_is_refused_and_names_the_attempt_before(server: ModelServer) -> None:
    server.words = (" ",)

    async def ask() -> None:
        async with service(cap=None) as llm:
            await llm.generate("hi", model=MODEL, max_tokens=20, budget_remaining=0.0006, enable_fallback=False)

    with pytest.raises(BudgetExceededError, match=f"failed before: {MODEL}: unusable answer") as refusal:
        asyncio.run(ask())
    assert [attempt.status for attempt in refusal.value.attempts] == ["failed"]
    assert len(server.requests) == len(attempts(settings.load().ledger_path)) == 1


def test_a_provider_that_reports_more_than_its_limit_within_the_slack_is_counted_and_told(server: ModelServer) -> None:
    notes: list[str] = []

    async def ask() -> None:
        async with service(notes) as llm:
            await llm.generate("hi", model=MODEL, max_tokens=1)

    asyncio.run(ask())
    ((status, reserved, cost),) = attempts(settings.load().ledger_path)
    assert (status, notes) == ("ok", []), "three tokens where one was allowed fit the bound of the prompt"
    assert cost <= reserved
    server.usage = {"prompt_tokens": 7, "completion_tokens": 250, "total_tokens": 257}
    asyncio.run(ask())
    (_, reserved, cost) = attempts(settings.load().ledger_path)[1]
    assert cost > reserved
    assert "more usage than the request allowed" in notes[0]


def test_a_cancelled_request_gives_its_reservation_back(server: ModelServer) -> None:
    server.pause_s = 5

    async def ask() -> None:
        async with service() as llm:
            task = asyncio.create_task(llm.generate("hi", model=MODEL, max_tokens=100))
            while not server.requests:  # noqa: ASYNC110 (the server is a thread)
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())
    ((status, reserved, cost),) = attempts(settings.load().ledger_path)
    assert status == "interrupted"
    assert 0 < cost <= reserved
    with Ledger(settings.load().ledger_path) as ledger:
        assert ledger.db.execute("SELECT reserved_picousd FROM budgets").fetchone() == (0,)


def test_a_request_cancelled_before_it_was_admitted_costs_nothing(server: ModelServer) -> None:
    path = settings.load().ledger_path
    Ledger(path).close()

    async def ask() -> None:
        async with service() as llm:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                task = asyncio.create_task(llm.generate("hi", model=MODEL, max_tokens=100))
                await asyncio.sleep(1.0)
                other.execute("ROLLBACK") if task.cancel() else None
                with pytest.raises(asyncio.CancelledError):
                    await task
            await asyncio.sleep(0.3)

    asyncio.run(ask())
    assert server.requests == []
    assert all((status, cost) == ("interrupted", 0) for status, _, cost in attempts(path))
    with Ledger(path) as ledger:
        assert ledger.db.execute("SELECT total(reserved_picousd) + total(spent_picousd) FROM budgets").fetchone() == (
            0,
        )


def test_a_shared_budget_holds_no_more_than_the_ledger_reserved() -> None:
    shared = SharedBudget(1000)
    reservation = Reservation("a/b", WorstCase(10, 7, 50, 10), RequestBudget(200, shared))
    assert reservation.bounded() == WorstCase(10, 7, (200 - 10) // 7, 10)
    assert shared.headroom_picousd == 1000 - (10 + 27 * 7)
    assert reservation.admitted(10 + 20 * 7) == 20
    assert shared.headroom_picousd == 1000 - (10 + 20 * 7)
    reservation.release()
    assert shared.headroom_picousd == 1000


def test_an_attempt_that_does_not_fit_what_others_hold_holds_nothing() -> None:
    shared = SharedBudget(500)
    worst = WorstCase(10, 7, 50, 10)
    Reservation("a/b", worst, RequestBudget(None, shared)).bounded()
    with pytest.raises(BudgetExceededError) as refusal:
        Reservation("a/b", worst, RequestBudget(None, shared), whole=True).bounded()
    assert refusal.value.headroom_picousd == shared.headroom_picousd == 500 - (10 + 50 * 7)
    assert not refusal.value.of_request


def test_the_longest_answer_that_fits() -> None:
    worst = WorstCase(prompt_picousd=100, token_picousd=7, most_tokens=50, least_tokens=16)
    assert worst.tokens_within(worst.least_picousd - 1) is None
    assert worst.tokens_within(worst.least_picousd) == 16
    assert worst.tokens_within(100 + 7 * 30 + 6) == 30
    assert worst.tokens_within(10**9) == 50
    assert WorstCase(0, 0, 50, 16).tokens_within(0) == 50
    for headroom in range(200, 500):
        tokens = worst.tokens_within(headroom)
        assert tokens is None or worst.picousd(tokens) <= headroom


def test_an_answer_whose_length_nobody_said_fits_the_window() -> None:
    assert longest_answer(128_000, None, 300, 20) == 32_000
    assert longest_answer(4_096, 128_000, 300, 20) == 4_096
    assert longest_answer(None, 8_192, 1_000, 100) == 7_192
    assert longest_answer(None, 8_192, 20_000, 5_000) == (8_192 - 5_000) // 2
    assert longest_answer(None, 100, 20_000, 5_000) == LEAST_ANSWER_TOKENS


def test_a_request_that_was_billed_more_than_its_budget_has_nothing_left() -> None:
    with pytest.raises(BudgetExceededError, match=r"the request may cost \$0\.00$"):
        Reservation("a/b", WorstCase(10, 7, 50, 10), RequestBudget(-115)).bounded()


@pytest.fixture
def odd_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine into a time zone whose days begin within a quarter of an hour of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX+3:07")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("odd_zone")
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_windows_of_caps_are_whole_quarters_of_an_hour_where_clocks_are_not(period: str) -> None:
    for now_ms in range(NOW_MS, NOW_MS + 2 * DAY_MS, 60_000):
        [cap] = current_caps([Limit(period, "", 1)], now_ms)
        assert cap.end_ms is not None
        assert cap.start_ms <= now_ms < cap.end_ms
        assert cap.start_ms % BUCKET_MS == cap.end_ms % BUCKET_MS == 0
