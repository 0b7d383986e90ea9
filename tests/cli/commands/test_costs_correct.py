"""Guesses are told from facts, and a person may put a fact in place of one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = time.time_ns() // 10**6
USD = 10**12
KINDS: tuple[dict[str, Any], ...] = (
    {"cost_picousd": USD // 100, "cost_basis": "reported", "usage_source": "reported"},
    {"cost_picousd": USD // 50, "cost_basis": "estimated", "usage_source": "estimated", "status": "failed"},
    {"cost_picousd": USD, "cost_basis": "at_most", "usage_source": "estimated", "status": "interrupted"},
    {"cost_picousd": USD // 4, "cost_basis": "at_least", "usage_source": "reported"},
    {"cost_picousd": USD // 2, "usage_source": "none", "status": "lost"},
    {"cost_picousd": None, "usage_source": "reported"},
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text("[budgets]\nday = 20\n")
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        for number, kind in enumerate(KINDS):
            facts = {"status": "ok", "reserved_picousd": USD, "input_tokens": 100, "output_tokens": 1, **kind}
            ledger.settle(AttemptRow(f"r{number}", 1, NOW_MS, "openai", "m", streaming=False, **facts))
        ledger.settle(AttemptRow("r1", 2, NOW_MS, "openai", "n", streaming=False, status="ok", cost_picousd=0))
        ledger.begin(AttemptRow("r9", 1, NOW_MS, "openai", "m", streaming=False, pid=1, host="elsewhere"))
    return tmp_path


def told(home: Path, *arguments: str) -> Any:
    ran = run("costs", *arguments, "--json", home=home)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_list_of_calls_tells_guesses_from_facts(home: Path) -> None:
    ran = run("costs", "calls", home=home)
    costs = [line.split("  ") for line in ran.out.splitlines()[1:]]
    told = [" ".join(part for part in line if "$" in part or part.strip() == "unknown").strip() for line in costs]
    assert told[:6] == [
        "$0.0100",
        "~$0.0200 (at most $1.00)",
        "at most $1.00",
        "at least $0.2500",
        "at most $0.5000",
        "unknown",
    ]


def test_the_bill_tells_how_much_of_it_is_no_fact(home: Path) -> None:
    parts = told(home)["unsure"]
    assert parts["estimated"] == {"call_count": 1, "cost_usd": 0.02, "at_most_usd": 1.0}
    assert parts["at_most"] == {"call_count": 1, "cost_usd": 1.0, "at_most_usd": 1.0}
    assert parts["at_least"] == {"call_count": 1, "cost_usd": 0.25, "at_most_usd": None}
    text = run("costs", home=home).out
    assert "~$0.0200" in text
    assert "of it is estimated, for 1 call of unknown usage or price: at most $1" in text


def test_of_a_reported_usage_at_a_doubtful_price_the_reservation_is_no_bound(tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        facts: dict[str, Any] = {"cost_basis": "estimated", "usage_source": "reported", "reserved_picousd": USD}
        row = AttemptRow("r", 1, NOW_MS, "openai", "m", streaming=False, status="ok", cost_picousd=USD // 50, **facts)
        ledger.settle(row)
    calls = run("costs", "calls", home=tmp_path).out
    assert "~$0.0200" in calls
    assert "at most" not in calls
    assert told(tmp_path)["unsure"]["estimated"] == {"call_count": 1, "cost_usd": 0.02, "at_most_usd": 0.02}


def test_a_known_cost_takes_the_place_of_a_guess_in_the_bill_and_the_old_one_is_kept(home: Path) -> None:
    before = told(home)["total_cost_usd"]
    ran = run("costs", "correct", "3", "--cost", "0.125", home=home)
    assert ran.code == 0
    assert ran.out.startswith("attempt 3 of openai/m: $0.125")
    assert told(home)["total_cost_usd"] == pytest.approx(before - 0.875)
    again = told(home, "correct", "r2/1", "--cost", "$0.25")
    assert (again["old_cost_usd"], again["cost_usd"]) == (0.125, 0.25)
    (found,) = [row for row in told(home, "calls") if row["request_id"] == "r2"]
    assert (found["cost_picousd"], found["computed_picousd"], found["cost_basis"]) == (USD // 4, USD, "corrected")
    assert told(home)["unsure"]["at_most"]["call_count"] == 0
    assert check(home / "llmroute" / "ledger.db", NOW_MS).faults == ()


def test_a_fact_that_is_corrected_is_told_and_marked_and_can_be_put_back(home: Path) -> None:
    ran = run("costs", "correct", "1", "--cost", "0.02", home=home)
    assert ran.code == 0
    assert "was known, not estimated; llmroute costs correct 1 --cost 0.010000000000 restores it" in ran.err
    assert "  corrected $0.0200  " in run("costs", "calls", home=home).out
    for guess, attempt in enumerate(("2", "3", "4", "5", "6", "1")):
        quiet = run("costs", "correct", attempt, "--cost", f"0.0{guess}", "--json", home=home)
        assert (quiet.code, quiet.err) == (0, ""), attempt
    ended = run("costs", "correct", "r1/2", "--cost", "0.01", "--json", home=home)
    assert (ended.code, "was a fact" in ended.err) == (0, False), "a row without a source of its cost"


def test_an_unknown_cost_becomes_known(home: Path) -> None:
    assert told(home)["unknown_cost_count"] == 1
    told(home, "correct", "r5", "--cost", "0")
    assert told(home)["unknown_cost_count"] == 0


def test_a_call_that_turns_up_late_does_not_undo_a_correction(home: Path) -> None:
    told(home, "correct", "r4", "--cost", "0.75")
    with Ledger(home / "llmroute" / "ledger.db") as ledger:
        ledger.settle(AttemptRow("r4", 1, NOW_MS, "openai", "m", streaming=False, status="ok", cost_picousd=5))
        found = ledger.db.execute("SELECT cost_picousd FROM attempts WHERE request_id = 'r4'").fetchall()
    assert found == [(USD * 3 // 4,)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("correct", "99", "--cost", "1"), "no attempt '99'"),
        (("correct", "r1", "--cost", "1"), "has 2 attempts"),
        (("correct", "r9", "--cost", "1"), "still pending"),
        (("correct", "1", "--cost", "much"), "no amount in USD"),
        (("correct", "1", "--cost", "-1"), "between $0 and $1,000"),
        (("correct", "1", "--cost", "1e999990"), "between $0 and $1,000"),
        (("correct", "1", "--cost", "-1e999990"), "between $0 and $1,000"),
    ],
)
def test_what_cannot_be_corrected_is_said_in_one_line(arguments: tuple[str, ...], words: str, home: Path) -> None:
    ran = run("costs", *arguments, home=home)
    assert ran.code == 2
    assert words in ran.err
