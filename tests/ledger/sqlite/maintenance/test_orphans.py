"""Whose pending rows are given up, and whose never."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.processes import Process, lives, this_process
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_MS = 86_400_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        return process.pid


def ends(ledger: Ledger) -> list[tuple[str, int | None]]:
    return ledger.db.execute("SELECT status, cost_picousd FROM attempts ORDER BY id").fetchall()


def test_the_row_of_a_dead_process_is_lost_and_counted_at_its_worst(ledger: Ledger) -> None:
    ledger.begin(row("a", pid=dead_pid()), [cap(100)], fixed(100))
    ledger.tend(NOW_MS)
    assert ends(ledger) == [("lost", 100)]
    ledger.tend(NOW_MS)
    assert ledger.db.execute("SELECT status, call_count, cost_picousd FROM rollups").fetchall() == [("lost", 1, 100)]
    assert ledger.db.execute("SELECT spent_picousd, reserved_picousd FROM budgets").fetchall() == [(100, 0)]


def test_the_lost_row_of_a_call_that_no_budget_bound_costs_what_was_expected(ledger: Ledger) -> None:
    ledger.begin(row("free", pid=dead_pid(), cost_basis="estimated", expected_picousd=7))
    ledger.begin(row("bound", pid=dead_pid(), cost_basis="at_most", expected_picousd=7))
    ledger.begin(row("unpriced", pid=dead_pid(), cost_basis="estimated", expected_picousd=None, reserved=None))
    ledger.tend(NOW_MS)
    found = ledger.db.execute("SELECT cost_picousd, reserved_picousd, cost_basis FROM attempts ORDER BY id").fetchall()
    assert found == [(7, 100, "estimated"), (100, 100, "at_most"), (None, None, "estimated")]


def test_the_row_of_a_living_process_is_never_touched(ledger: Ledger) -> None:
    ledger.begin(row("a", deadline_ms=NOW_MS))
    ledger.tend(NOW_MS + 10 * DAY_MS)
    assert ends(ledger) == [("pending", None)]


def test_a_pid_that_is_used_again_keeps_no_dead_row_alive(ledger: Ledger) -> None:
    me = this_process()
    assert me.mark is not None
    earlier = me.mark.rpartition("/")[0] + "/1"
    ledger.begin(row("a", process=earlier))
    ledger.tend(NOW_MS)
    assert ends(ledger) == [("lost", 100)]


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"process": "other-boot/pid:[1]/5"}])
def test_rows_of_another_host_or_container_wait_for_their_deadline(elsewhere: dict[str, str], ledger: Ledger) -> None:
    ledger.begin(row("a", pid=dead_pid(), deadline_ms=NOW_MS + 1000, **elsewhere))  # type: ignore[arg-type]
    ledger.tend(NOW_MS + 1000)
    assert ends(ledger) == [("pending", None)]
    ledger.tend(NOW_MS + 1001)
    assert ends(ledger) == [("lost", 100)]


def test_rows_of_an_older_llmroute_wait_for_a_day(ledger: Ledger) -> None:
    ledger.begin(row("a", host=None, process=None, deadline_ms=None))
    ledger.tend(NOW_MS + DAY_MS)
    assert ends(ledger) == [("pending", None)]
    ledger.tend(NOW_MS + DAY_MS + 1)
    assert ends(ledger) == [("lost", 100)]


def test_a_process_that_says_no_start_time_is_asked_for_by_its_pid(ledger: Ledger) -> None:
    ledger.begin(row("dead", pid=dead_pid(), process=None))
    ledger.begin(row("living", process=None, deadline_ms=NOW_MS + 1000))
    ledger.tend(NOW_MS)
    assert ends(ledger) == [("lost", 100), ("pending", None)]
    ledger.tend(NOW_MS + 1001)
    assert ends(ledger)[1] == ("lost", 100)


def test_a_lost_row_whose_process_comes_back_is_settled_and_a_settled_one_is_not_lost(ledger: Ledger) -> None:
    made = row("a", host="elsewhere", deadline_ms=NOW_MS)
    ledger.begin(made)
    ledger.tend(NOW_MS + 1)
    ledger.settle(settled(made, 7))
    ledger.tend(NOW_MS + DAY_MS)
    assert ends(ledger) == [("ok", 7)]
    assert ledger.db.execute("SELECT sum(call_count), sum(cost_picousd) FROM rollups").fetchone() == (1, 7)


def test_a_price_that_is_unknown_is_lost_as_unknown(ledger: Ledger) -> None:
    ledger.begin(row("a", pid=dead_pid(), reserved=None))
    ledger.tend(NOW_MS)
    assert ends(ledger) == [("lost", None)]


def test_a_zombie_is_dead() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        me = this_process()
        assert lives(Process(pid, me.host, me.mark)) is False
        assert lives(Process(pid, me.host, None)) is False
    finally:
        os.waitpid(pid, 0)
    assert lives(me) is True
