"""Attempts of a batch begin when their provider and their budget have room."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.bulk.limiter import ConcurrencyLimiter
from llmroute.bulk.throttled_writer import ThrottledWriter
from llmroute.execution.accounting.budget import Admission, RequestBudget, SharedBudget
from llmroute.execution.accounting.group_commit import GroupCommitWriter
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.concurrency.threads import Threads
from llmroute.execution.operations import Begin, Settle
from llmroute.ledger_location import LedgerLocation
from llmroute.worst_case import WorstCase
from tests.ledger.calls import row, settled

if TYPE_CHECKING:
    from pathlib import Path


def test_an_interrupted_attempt_frees_its_provider_and_is_charged_to_the_shared_budget(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shared = SharedBudget(150)
    how = Admission(WorstCase(0, 1, 100, 100), RequestBudget(shared=shared))

    async def calls() -> None:
        books = GroupCommitWriter(LedgerWriter(LedgerLocation(path), pytest.fail), Threads())
        limiter = ConcurrencyLimiter(1, lambda _provider: False)
        throttled = ThrottledWriter(lambda: books, limiter, shared, lambda: None, capped=False)
        interrupted = row("a")
        await throttled.begin(Begin(interrupted, how, Clock()))
        waiting = asyncio.ensure_future(throttled.begin(Begin(row("never"), how, Clock())))
        await asyncio.sleep(0)
        assert not limiter.has_room("openai")
        waiting.cancel()
        throttled.settle_interrupted(Settle(settled(row("never"), 0, "interrupted"), None))
        assert not limiter.has_room("openai"), "what has not begun gives back nothing"
        throttled.settle_interrupted(Settle(settled(interrupted, 30, "interrupted"), None))
        assert limiter.has_room("openai")
        assert shared.headroom_picousd == 120

    asyncio.run(calls())
    with closing(sqlite3.connect(path)) as db:
        assert ("a", "interrupted") in db.execute("SELECT request_id, status FROM attempts").fetchall()
