"""Many processes on one ledger, and what is left when they are killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import BudgetExceededError
from llmroute.ledger import spool
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from tests.conftest import PROJECT
from tests.ledger import killing
from tests.ledger.calls import FOREVER_MS, NOW_MS, at_once, cap, fixed, row, settled, unique

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES, CALLS = 64, 50
RIVALS, WORST, CAP = 32, 1_000, 400_000
# Fires at the write that would break a cap, whoever makes it.
ALARM = """
CREATE TRIGGER over_the_cap AFTER UPDATE ON budgets WHEN new.spent_picousd + new.reserved_picousd > new.cap_picousd
BEGIN SELECT raise(ABORT, 'over the cap'); END
"""
ALARMED = ("the trigger over_the_cap is not one of the ledger's",)


def fill(number: int, path: Path) -> None:
    with Ledger(path, busy_timeout_s=60) as ledger:
        for call in range(CALLS):
            made = row(f"{number}-{call}", at_ms=NOW_MS + number * 100_000)
            ledger.begin(made)
            ledger.settle(settled(made, number * 1000 + call))


def test_64_first_runs_at_once_with_50_calls_each_are_3200_rows_and_sums_that_agree(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.db"
    at_once(PROCESSES, fill, path)
    found = check(path, NOW_MS)
    assert (found.attempts, found.faults, found.notes) == (PROCESSES * CALLS, (), ())
    with Ledger(path) as ledger:
        (count, cost) = ledger.db.execute("SELECT sum(call_count), sum(cost_picousd) FROM rollups").fetchone()
    assert count == PROCESSES * CALLS
    assert cost == sum(n * 1000 + c for n in range(PROCESSES) for c in range(CALLS))


def spend(number: int, path: Path) -> None:
    """Call until nothing fits any more, with nobody else's reservation in the way."""
    chance = random.Random(number)
    bound = cap(CAP)
    with Ledger(path, busy_timeout_s=60) as ledger:
        while True:
            made = row(unique())
            try:
                ledger.begin(made, [bound], fixed(WORST))
            except BudgetExceededError:
                if summed_status(ledger.db, bound).reserved_picousd == 0:
                    return
                time.sleep(0.002)
                continue
            ledger.settle(settled(made, chance.randint(0, WORST)))


def test_32_processes_spend_a_cap_to_within_one_call_and_never_above_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.db.execute(ALARM)
    at_once(RIVALS, spend, path)
    with Ledger(path) as ledger:
        now = summed_status(ledger.db, cap(CAP))
        (rows,) = ledger.db.execute("SELECT sum(cost_picousd) FROM attempts").fetchone()
    assert rows == now.spent_picousd
    assert CAP - WORST < now.spent_picousd <= CAP
    assert now.reserved_picousd == 0
    assert check(path, NOW_MS).faults == ALARMED


def test_after_500_kills_every_answer_is_there_and_the_cap_has_held(tmp_path: Path) -> None:
    path, log = tmp_path / "ledger.db", tmp_path / "answers"
    with Ledger(path) as ledger:
        ledger.db.execute(ALARM)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.ledger.killing", str(path), str(log), "500", str(time.time())],
        cwd=PROJECT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    with Ledger(path) as ledger:
        ledger.tend(time.time_ns() // 1_000_000)
        status = dict(ledger.db.execute("SELECT request_id, status FROM attempts").fetchall())
        now = summed_status(ledger.db, cap(killing.CAP))
        (lost, at_worst) = ledger.db.execute(
            "SELECT count(*), sum(cost_picousd) FROM attempts WHERE status = 'lost'"
        ).fetchone()
    answered = log.read_text().split()
    assert len(answered) > 500
    assert {status.get(request) for request in answered} <= {"ok", "lost"}
    assert 0 < lost <= 504, "only the killed have lost a call, one each"
    assert at_worst == lost * killing.WORST
    assert now.reserved_picousd == 0
    assert now.spent_picousd <= killing.CAP
    assert check(path, FOREVER_MS).faults == ALARMED


def append(number: int, path: Path) -> None:
    for call in range(20):
        spool.keep(settled(row(f"{number}-{call}"), 1), path)
        if call % 5 == 4:
            with Ledger(path, busy_timeout_s=60) as ledger:
                ledger.tend(NOW_MS)


def test_rows_that_many_spool_while_many_take_in_are_there_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    at_once(8, append, path)
    with Ledger(path) as ledger:
        ledger.tend(NOW_MS)
        (rows, cost) = ledger.db.execute("SELECT count(*), sum(cost_picousd) FROM attempts").fetchone()
    assert (rows, cost) == (160, 160)
    assert spool.waiting(path) == []


def test_an_attempt_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(BudgetExceededError):
            ledger.begin(row("a"), [cap(99)], fixed(100))
        assert ledger.db.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
        assert summed_status(ledger.db, cap(99)).left_picousd == 99
        ledger.db.execute(ALARM)
        ledger.begin(row("b"), [cap(100)], fixed(100))
        with pytest.raises(sqlite3.IntegrityError):
            ledger.db.execute("UPDATE budgets SET reserved_picousd = 101")
