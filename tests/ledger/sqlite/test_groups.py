"""Many attempts written at once are what they are when each is written by itself, and none hurts another."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.circuits import BreakerRule, TripReason
from llmroute.errors import BudgetExceededError, CircuitOpenError, LedgerError
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.sqlite import observations
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics import values as stats
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.entries import LedgerEntry


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def statuses(ledger: Ledger) -> dict[str, str]:
    return dict(ledger.db.execute("SELECT request_id, status FROM attempts").fetchall())


def lesson(model: str = "gpt", *, succeeded: bool = True, trip: BreakerRule | None = None) -> stats.Observation:
    return stats.Observation(
        "openai", model, "", 0, NOW_MS, "", succeeded=succeeded, ttft_s=1.0, trip=trip, answered=True
    )


def test_a_cap_admits_in_order_and_what_it_refuses_hurts_nobody_else(ledger: Ledger) -> None:
    made = [row(f"r{number}") for number in range(5)]
    worst = (40, 70, 50, 20, 10)
    bound = cap(100)
    outcomes = ledger.write([Pending(one, [bound], fixed(most)) for one, most in zip(made, worst, strict=True)])
    assert [isinstance(one, BudgetExceededError) for one in outcomes] == [False, True, False, True, False]
    assert set(statuses(ledger)) == {"r0", "r2", "r4"}
    assert summed_status(ledger.db, bound).left_picousd == 0
    assert outcomes[1] is not None
    assert "$0.00000000006 left" in str(outcomes[1])


def test_what_an_attempt_leaves_of_its_reservation_admits_the_next_in_the_same_group(ledger: Ledger) -> None:
    first, second = row("first"), row("second")
    bound = cap(100)
    ledger.begin(first, [bound], fixed(100))
    assert ledger.write([Settled(settled(first, 30)), Pending(second, [bound], fixed(70))]) == [None, None]
    assert summed_status(ledger.db, bound).left_picousd == 0


def test_one_of_a_group_wins_the_probe(ledger: Ledger) -> None:
    rest = BreakerRule("endpoint", TripReason.RATE_LIMIT, 1000, 1000)
    ledger.settle(settled(row("limited"), 0, "failed"), lesson(succeeded=False, trip=rest))
    after = NOW_MS + 1001
    outcomes = ledger.write(
        [Pending(row(who), claim=stats.ProbeClaim(who, after, after + 60_000)) for who in ("one", "two")]
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], CircuitOpenError)
    assert set(statuses(ledger)) == {"limited", "one"}


@pytest.mark.parametrize(
    "bad", [{"workspace": "half a \ud800 character"}, {"input_tokens": 2**70}, {"model": None}, {"attempt": "x"}]
)
def test_a_row_that_no_column_takes_is_refused_alone(bad: dict[str, Any], ledger: Ledger) -> None:
    entries: list[LedgerEntry] = [
        Pending(row("a")),
        Pending(row("bad", **bad)),
        Settled(settled(row("b"), 1), lesson()),
    ]
    outcomes = ledger.write(entries)
    assert [type(one) for one in outcomes] == [type(None), LedgerError, type(None)]
    assert statuses(ledger) == {"a": "pending", "b": "ok"}
    assert ledger.recall(bucket=0, now_ms=NOW_MS).reliabilities["openai", "gpt"] == (1.0, 1.0)


def test_a_ledger_that_others_keep_locked_is_told_to_each_after_one_wait(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as other, Ledger(path, busy_timeout_s=0.05) as ledger:
        other.db.execute("BEGIN IMMEDIATE")
        tried: list[int] = []
        ledger.db.set_trace_callback(lambda statement: tried.append(statement == "BEGIN IMMEDIATE"))
        outcomes = ledger.write([Pending(row(f"r{number}")) for number in range(50)])
        other.db.execute("ROLLBACK")
    assert all(isinstance(one, LedgerError) and "locked" in str(one) for one in outcomes)
    assert len({id(one) for one in outcomes}) == 50
    assert sum(tried) <= 1


def test_a_group_is_one_transaction(ledger: Ledger) -> None:
    commits: list[str] = []
    ledger.db.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    ledger.write([Pending(row(f"r{number}")) for number in range(64)])
    assert commits == ["COMMIT"]
    assert len(statuses(ledger)) == 64


def test_who_does_not_wait_writes_where_nobody_else_does_and_nothing_where_somebody_does(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert ledger.write_at_once([Pending(row("a"))]) == [None]
        other.execute("BEGIN IMMEDIATE")
        assert ledger.write_at_once([Pending(row("b"))]) is None
        other.execute("ROLLBACK")
        assert set(statuses(ledger)) == {"a"}
        assert ledger.write_at_once([Pending(row("b"))]) == [None]
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(ledger.write, [Pending(row("c"))])
            time.sleep(0.3)
            other.execute("ROLLBACK")
            assert waiting.result(10) == [None], "whoever waits waits as before"


def test_a_lock_that_comes_before_a_group_goes_again_one_by_one_keeps_the_whole_group_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    bad = Pending(row("bad", model=None), retry=True)
    entries: list[LedgerEntry] = [Settled(settled(row("a"), 1), lesson()), bad, Pending(row("b"))]
    with Ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        tokens = observations.stored(ledger.db).retries_left("openai", NOW_MS)
        begun: list[str] = []

        def lock_before_the_second(statement: str) -> None:
            if statement == "BEGIN IMMEDIATE":
                begun.append(statement)
                if len(begun) == 2:
                    other.execute(statement)

        ledger.db.set_trace_callback(lock_before_the_second)
        assert ledger.write_at_once(entries) is None
        other.execute("ROLLBACK")
        assert statuses(ledger) == {}
        assert [type(one) for one in ledger.write(entries)] == [type(None), LedgerError, type(None)]
        assert statuses(ledger) == {"a": "ok", "b": "pending"}
        assert ledger.recall(bucket=0, now_ms=NOW_MS).reliabilities["openai", "gpt"] == (1.0, 1.0)
        assert observations.stored(ledger.db).retries_left("openai", NOW_MS) == tokens, "what is refused takes none"
