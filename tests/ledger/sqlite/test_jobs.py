"""The journal of batch jobs: each change together with what it does to reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.errors import BudgetExceededError, LedgerError
from llmroute.ledger.entries import Pending
from llmroute.ledger.jobs import Job, JobLine, LineEnd, NewLine, custom_id, number_of
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CAP = 1_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def job(name: str = "job", **told: object) -> Job:
    made = Job(name, "run", "/out", "in", "opts", "openai", "gpt", "submitting", 0, NOW_MS, NOW_MS + 1000)
    return made._replace(**told)  # type: ignore[arg-type]


def line(n: int, name: str = "job", *, position: int | None = None, worst: int = 100) -> NewLine:
    made = row(custom_id(name, n), pid=None, host=None, process=None, cost_basis="at_most")
    told = JobLine(n, n if position is None else position, f'"{n}"', "reserved", 5, 9, None, 50)
    return NewLine(told, Pending(made, [cap(CAP)], fixed(worst)))


def held(ledger: Ledger) -> tuple[int, int]:
    """Return what is spent and reserved under the cap."""
    with ledger.snapshot() as snapshot:
        (status,) = snapshot.budget_statuses([cap(CAP)])
    return status.spent_picousd, status.reserved_picousd


def answered(new: NewLine, cost: int) -> LineEnd:
    return LineEnd(new.line.n, "answered", settled(new.pending.row, cost))


def test_lines_reserve_their_worst_case_until_a_cap_refuses_one(ledger: Ledger) -> None:
    ledger.jobs.add(job())
    outcomes = ledger.jobs.reserve("job", [line(0, worst=600), line(1, worst=600), line(2, worst=400)])
    assert [type(outcome) for outcome in outcomes] == [type(None), BudgetExceededError, type(None)]
    assert held(ledger) == (0, 1000)
    assert [one.n for one in ledger.jobs.lines("job", 0, 9)] == [0, 2]
    assert ledger.jobs.jobs()[0].lines == 2


def test_a_line_is_settled_once(ledger: Ledger) -> None:
    new = line(0)
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [new])
    assert ledger.jobs.settle("job", [answered(new, 40)]) == [True]
    assert ledger.jobs.settle("job", [answered(new, 90)]) == [False]
    assert held(ledger) == (40, 0)
    assert ledger.jobs.sums("job") == (1, 0, 0, 40, 0)


def test_lines_that_were_not_run_cost_nothing(ledger: Ledger) -> None:
    new = line(0)
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [new, line(1), line(2)])
    ledger.jobs.settle("job", [answered(new, 40)])
    assert ledger.jobs.release("job", "expired", NOW_MS + 9) == 2
    assert held(ledger) == (40, 0)
    assert ledger.jobs.sums("job") == (1, 0, 2, 40, 0)


def test_lines_whose_results_are_lost_cost_their_reservation_under_a_budget(ledger: Ledger) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0)])
    assert ledger.jobs.lose("job", "bad_output", NOW_MS + 9) == 1
    assert held(ledger) == (100, 0)


def test_a_job_that_was_never_submitted_leaves_nothing_reserved(ledger: Ledger) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0), line(1)])
    ledger.jobs.drop("job", NOW_MS + 9)
    assert held(ledger) == (0, 0)
    assert ledger.jobs.jobs() == []
    assert ledger.jobs.placed("run", 0, 9) == {}


def test_reservations_of_one_job_are_not_those_of_another_with_a_longer_id(ledger: Ledger) -> None:
    for name in ("job", "job1"):
        ledger.jobs.add(job(name))
        ledger.jobs.reserve(name, [line(0, name)])
    ledger.jobs.release("job", "expired", NOW_MS + 9)
    assert held(ledger) == (0, 100)


def test_of_a_line_that_was_submitted_again_the_last_job_counts(ledger: Ledger) -> None:
    for name in ("job", "job1"):
        ledger.jobs.add(job(name))
        ledger.jobs.reserve(name, [line(0, name, position=7)])
    ledger.jobs.release("job", "expired", NOW_MS + 9)
    assert ledger.jobs.placed("run", 0, 9) == {7: ("job1", 0, "reserved")}


def test_reserved_lines_of_a_dead_process_stay_reserved(ledger: Ledger) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0)])
    ledger.tend(NOW_MS + 86_400_000)
    assert held(ledger) == (0, 100)


def test_a_saved_job_is_found_by_its_output(ledger: Ledger) -> None:
    ledger.jobs.add(job())
    ledger.jobs.save(job(sealed=True, vendor_id="batch_1").moved("queued"))
    (found,) = ledger.jobs.jobs(output="/out")
    assert (found.phase, found.sealed, found.vendor_id) == ("queued", True, "batch_1")
    assert ledger.jobs.jobs(output="/other") == []
    assert ledger.jobs.job("job") == found


def test_a_job_that_has_ended_does_not_run_again() -> None:
    with pytest.raises(LedgerError, match="is done and cannot become running"):
        job(phase="done").moved("running")


@pytest.mark.parametrize("custom", ["job", "job-", "job-x", "job-01", "other-1", "job--1", "job-1.5", "job-²"])
def test_an_id_that_is_not_of_the_job_has_no_number(custom: str) -> None:
    assert number_of("job", custom) is None


def test_the_number_of_a_line_is_read_from_its_id() -> None:
    assert number_of("job", custom_id("job", 49_999)) == 49_999
