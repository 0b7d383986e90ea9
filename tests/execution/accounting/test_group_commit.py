"""What the requests of one event loop write is written together, and each of them hears what became of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.config import Limit
from llmroute.errors import BudgetExceededError
from llmroute.execution.accounting.budget import Admission, RequestBudget
from llmroute.execution.accounting.group_commit import GroupCommitWriter
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.concurrency.threads import Threads
from llmroute.execution.operations import Begin, Settle
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import LedgerLocation
from llmroute.worst_case import WorstCase
from tests.ledger.calls import NOW_MS, row, settled
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

FREE = Admission(None, RequestBudget())
HUNDRED = Admission(WorstCase(0, 1, 100, 100), RequestBudget())


def statuses(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT request_id, status FROM attempts"))


def test_requests_that_wait_are_written_together_and_each_goes_on_when_it_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    commits: list[str] = []

    async def call(group: GroupCommitWriter, number: int) -> None:
        made = row(f"r{number}")
        await group.begin(Begin(made, HUNDRED, Clock()))
        assert statuses(path)[made.request_id] == "pending"
        await group.settle(Settle(settled(made, 100), None))
        assert statuses(path)[made.request_id] == "ok"

    async def calls(books: LedgerWriter) -> list[BaseException | None]:
        group = GroupCommitWriter(books, Threads())
        return await asyncio.gather(*(call(group, number) for number in range(64)), return_exceptions=True)

    with Ledger(path) as ledger:
        ledger.db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        warnings: list[str] = []
        found = asyncio.run(
            calls(LedgerWriter(LedgerLocation(path), warnings.append, ledger, limits=[Limit("total", "", 6_300)]))
        )
    assert [type(one) for one in found if one is not None] == [BudgetExceededError]
    assert len(warnings) == 1
    assert len(commits) <= 5
    assert check(path, NOW_MS).faults == ()
    assert check(path, NOW_MS).attempts == 63


def test_a_ledger_that_another_process_has_locked_is_waited_for_without_stopping_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    turns = 0

    async def calls() -> None:
        nonlocal turns
        group = GroupCommitWriter(LedgerWriter(LedgerLocation(path), pytest.fail), Threads())
        await group.begin(Begin(row("first"), FREE, Clock()))
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.gather(*(group.begin(Begin(row(f"r{number}"), FREE, Clock())) for number in range(8)))
        while not waiting.done():
            await asyncio.sleep(0.01)
            turns += 1
            if turns == 10:
                other.rollback()
        await waiting
        other.close()

    asyncio.run(calls())
    assert turns >= 10
    assert set(statuses(path)) == {"first", *(f"r{number}" for number in range(8))}


def test_who_is_cancelled_before_its_turn_is_not_written_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def calls() -> None:
        group = GroupCommitWriter(LedgerWriter(LedgerLocation(path), pytest.fail), Threads())
        tasks = [asyncio.create_task(group.begin(Begin(row(name), FREE, Clock()))) for name in ("a", "gone", "b")]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tasks[1].cancelled()

    asyncio.run(calls())
    assert set(statuses(path)) == {"a", "b"}


def test_a_bug_reaches_every_caller_and_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    broken = Admission(WorstCase(0, 1, "many", 1), RequestBudget())  # type: ignore[arg-type]

    async def calls() -> None:
        group = GroupCommitWriter(
            LedgerWriter(LedgerLocation(path), pytest.fail, limits=[Limit("total", "", 100)]), Threads()
        )
        told = await asyncio.gather(
            group.begin(Begin(row("a"), broken, Clock())),
            group.begin(Begin(row("b"), HUNDRED, Clock())),
            return_exceptions=True,
        )
        assert [type(one) for one in told] == [TypeError] * 2
        await group.begin(Begin(row("c"), HUNDRED, Clock()))

    asyncio.run(calls())
    assert set(statuses(path)) == {"c"}


def test_what_the_ledger_cannot_take_is_kept_beside_it_and_nobody_fails(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.mkdir()
    warnings: list[str] = []

    async def calls() -> None:
        group = GroupCommitWriter(LedgerWriter(LedgerLocation(path), warnings.append), Threads())
        made = [row(f"r{number}") for number in range(3)]
        await asyncio.gather(*(group.begin(Begin(one, FREE, Clock())) for one in made))
        await asyncio.gather(*(group.settle(Settle(settled(one, 5), None)) for one in made))

    asyncio.run(calls())
    assert len(warnings) == 1
    assert "the next run adds it from" in warnings[0]
    assert (tmp_path / "ledger.db.spool").read_text().count("\n") == 6


def test_what_is_settled_after_the_service_was_closed_leaves_no_ledger_open(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def calls() -> None:
        books = LedgerWriter(LedgerLocation(path), pytest.fail)
        group = GroupCommitWriter(books, Threads())
        await group.begin(Begin(row("a"), FREE, Clock()))
        books.access.close()
        group.settle_interrupted(Settle(settled(row("a"), 5), None))

    asyncio.run(calls())
    wait_until(lambda: not path.with_name("ledger.db-wal").exists() and statuses(path) == {"a": "ok"})
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]
    assert statuses(path) == {"a": "ok"}
