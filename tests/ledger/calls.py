"""Rows and processes for the ledger's tests."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.budgets import Cap
from llmroute.ledger.processes import this_process
from llmroute.ledger.reports import by_model
from llmroute.ledger.sqlite import observations
from llmroute.worst_case import WorstCase

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from llmroute.ledger.port import LedgerPort
    from llmroute.ledger.reports import Line
    from llmroute.ledger.statistics.values import CheckResult, Observation

NOW_MS = 1_790_000_100_000
FOREVER_MS = NOW_MS * 2


def row(
    request: str, attempt: int = 1, *, at_ms: int = NOW_MS, reserved: int | None = 100, **told: object
) -> AttemptRow:
    """Return a pending row of this process."""
    me = this_process()
    made = AttemptRow(
        request_id=request,
        attempt=attempt,
        started_ms=at_ms,
        provider="openai",
        model="gpt",
        streaming=False,
        reserved_picousd=reserved,
        pid=me.pid,
        host=me.host,
        process=me.mark,
        deadline_ms=FOREVER_MS,
    )
    for name, value in told.items():
        setattr(made, name, value)
    return made


def settled(made: AttemptRow, cost: int | None, status: str = "ok") -> AttemptRow:
    """Settle a row in place and return it."""
    made.status, made.cost_picousd, made.settled_ms = status, cost, made.started_ms + 5
    made.input_tokens, made.output_tokens, made.latency_ms = 7, 3, 5
    return made


def cap(picousd: int, period: str = "total", workspace: str = "", start_ms: int = 0, end_ms: int | None = None) -> Cap:
    return Cap(period, workspace, picousd, start_ms, end_ms)


def fixed(picousd: int) -> WorstCase:
    """Return the worst case of an attempt that may cost so much and cannot be cut down."""
    return WorstCase(picousd, 0, 0, 0)


def model_lines(ledger: LedgerPort, since_ms: int | None, until_ms: int, workspace: str | None = None) -> list[Line]:
    """Return the lines of a report by model."""
    with ledger.snapshot() as snapshot:
        return by_model(snapshot, since_ms, until_ms, workspace)


def at_once(count: int, work: Callable[..., None], *arguments: object) -> None:
    """Run `work(number, *arguments)` in so many processes that start together; each must end well."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.ledger.sqlite.test_many_processes"])
    gate = server.Barrier(count)
    processes = [server.Process(target=_behind_gate, args=(gate, work, number, *arguments)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * count


def _behind_gate(gate: object, work: Callable[..., None], *arguments: object) -> None:
    gate.wait(100)  # type: ignore[attr-defined]
    work(*arguments)


def unique() -> str:
    return os.urandom(8).hex()


def learn(db: sqlite3.Connection, lessons: Iterable[Observation | CheckResult]) -> None:
    """Fold lessons into the statistics of a ledger."""
    with observations.changing(db) as memory:
        for lesson in lessons:
            memory.learn(lesson)
