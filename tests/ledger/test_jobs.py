"""The journal of batch jobs, whichever database stores it: each change together with what it does to reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.errors import BudgetExceededError, LedgerError
from llmroute.ledger.entries import BudgetWatch, OutdatedCapsError, Pending
from llmroute.ledger.jobs import Job, JobLine, LineEnd, NewLine, SchemaOfLines, custom_id, number_of
from llmroute.ledger.postgres.shared_caps import set_cap
from llmroute.ledger.postgres.store import PostgresLedger
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled
from tests.ledger.stores import address, ledger, opened, pgbouncer, pooled, postgres

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger_location import ServerAddress
    from tests.ledger.stores import Opened, Store

__all__ = ["address", "ledger", "opened", "pgbouncer", "pooled", "postgres"]

CAP = 1_000


def job(name: str = "job", **told: object) -> Job:
    made = Job(name, "run", "/out", "in", "opts", "openai", "gpt", "submitting", 0, NOW_MS, NOW_MS + 1000)
    return made._replace(**told)  # type: ignore[arg-type]


def line(n: int, name: str = "job", *, position: int | None = None, worst: int = 100) -> NewLine:
    made = row(custom_id(name, n), pid=None, host=None, process=None, cost_basis="at_most")
    told = JobLine(n, n if position is None else position, f'"{n}"', "reserved", 5, 9, None, 50)
    return NewLine(told, Pending(made, [cap(CAP)], fixed(worst)))


def held(ledger: Store) -> tuple[int, int]:
    """Return what is spent and reserved under the cap."""
    with ledger.snapshot() as snapshot:
        (status,) = snapshot.budget_statuses([cap(CAP)])
    return status.spent_picousd, status.reserved_picousd


def answered(new: NewLine, cost: int) -> LineEnd:
    return LineEnd(new.line.n, "answered", settled(new.pending.row, cost))


def test_lines_reserve_their_worst_case_until_a_cap_refuses_one(ledger: Store) -> None:
    ledger.jobs.add(job())
    outcomes = ledger.jobs.reserve("job", [line(0, worst=600), line(1, worst=600), line(2, worst=400)])
    assert [type(outcome) for outcome in outcomes] == [type(None), BudgetExceededError, type(None)]
    assert held(ledger) == (0, 1000)
    assert [one.n for one in ledger.jobs.lines("job", 0, 9)] == [0, 2]
    assert ledger.jobs.jobs()[0].lines == 2


def test_a_line_is_settled_once(ledger: Store) -> None:
    new = line(0)
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [new])
    assert ledger.jobs.settle("job", [answered(new, 40)]) == [True]
    assert ledger.jobs.settle("job", [answered(new, 90)]) == [False]
    assert held(ledger) == (40, 0)
    assert ledger.jobs.sums("job") == (1, 0, 0, 40, 0)


def test_lines_that_were_not_run_cost_nothing(ledger: Store) -> None:
    new = line(0)
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [new, line(1), line(2)])
    ledger.jobs.settle("job", [answered(new, 40)])
    assert ledger.jobs.release("job", "expired", NOW_MS + 9) == 2
    assert held(ledger) == (40, 0)
    assert ledger.jobs.sums("job") == (1, 0, 2, 40, 0)


def test_lines_whose_results_are_lost_cost_their_reservation_under_a_budget(ledger: Store) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0)])
    assert ledger.jobs.lose("job", "bad_output", NOW_MS + 9) == 1
    assert held(ledger) == (100, 0)


def test_a_job_that_was_never_submitted_leaves_nothing_reserved(ledger: Store) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0), line(1)])
    ledger.jobs.drop("job", NOW_MS + 9)
    assert held(ledger) == (0, 0)
    assert ledger.jobs.jobs() == []
    assert ledger.jobs.placed("run", 0, 9) == {}


def test_reservations_of_one_job_are_not_those_of_another_with_a_longer_id(ledger: Store) -> None:
    for name in ("job", "job1"):
        ledger.jobs.add(job(name))
        ledger.jobs.reserve(name, [line(0, name)])
    ledger.jobs.release("job", "expired", NOW_MS + 9)
    assert held(ledger) == (0, 100)


def test_of_a_line_that_was_submitted_again_the_last_job_counts(ledger: Store) -> None:
    for name in ("job", "job1"):
        ledger.jobs.add(job(name))
        ledger.jobs.reserve(name, [line(0, name, position=7)])
    ledger.jobs.release("job", "expired", NOW_MS + 9)
    assert ledger.jobs.placed("run", 0, 9) == {7: ("job1", 0, "reserved")}


def test_reserved_lines_of_a_dead_process_stay_reserved(ledger: Store) -> None:
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", [line(0)])
    ledger.tend(NOW_MS + 86_400_000)
    assert held(ledger) == (0, 100)


def test_a_job_is_withdrawn_unless_its_creation_was_sent(ledger: Store) -> None:
    for name, begun_ms in (("job", None), ("job1", NOW_MS)):
        ledger.jobs.add(job(name, create_begun_ms=begun_ms))
        ledger.jobs.reserve(name, [line(0, name)])
    assert [ledger.jobs.withdraw(name, NOW_MS + 9) for name in ("job", "job1")] == [True, False]
    assert held(ledger) == (0, 100)
    assert [one.phase for one in ledger.jobs.jobs()] == ["cancelled", "submitting"]
    assert not ledger.jobs.save(job(sealed=True))


def test_all_jobs_of_a_run_are_delivered_at_once(ledger: Store) -> None:
    for name, run in (("job", "run"), ("job1", "run"), ("job2", "other")):
        ledger.jobs.add(job(name, run=run))
    ledger.jobs.deliver("run", NOW_MS + 9)
    assert [one.id for one in ledger.jobs.jobs() if one.delivered_ms == NOW_MS + 9] == ["job", "job1"]
    assert [one.id for one in ledger.jobs.jobs(run="run")] == ["job", "job1"]


def test_lines_come_with_their_attempts(ledger: Store) -> None:
    lines = [line(n, position=9 - n) for n in range(3)]
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", lines)
    found = {told.n: (told, made) for told, made in ledger.jobs.rows("job", [2, 0, 7])}
    assert found == {n: (lines[n].line, lines[n].pending.row) for n in (0, 2)}


def test_what_waits_at_a_provider_is_counted_with_its_tokens(ledger: Store) -> None:
    for name, begun_ms in (("job", NOW_MS), ("job1", None), ("job2", None)):
        ledger.jobs.add(job(name, create_begun_ms=begun_ms, phase="queued" if name == "job2" else "submitting"))
        ledger.jobs.reserve(name, [line(n, name) for n in range(2)])
    assert ledger.jobs.queued("job1") == ("openai", "gpt", None, 2, 10)
    assert [one.tokens for one in ledger.jobs.enqueued("openai", "job1")] == [10, 10]
    assert [one.tokens for one in ledger.jobs.enqueued("openai", "job2")] == [10]
    assert ledger.jobs.enqueued("mistral", "job2") == []


def test_a_cap_that_is_nearly_spent_by_lines_is_told_once(ledger: Store) -> None:
    lines = [line(n, worst=450) for n in range(2)]
    ledger.jobs.add(job())
    ledger.jobs.reserve("job", lines)
    near = []
    for new in lines:
        watch = BudgetWatch([cap(CAP)], 0.4, [])
        ledger.jobs.settle("job", [answered(new, 450)], watch)
        near.append([status.spent_picousd for status in watch.near])
    assert near == [[450], []]


def test_lines_made_under_other_caps_are_not_reserved(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger, PostgresLedger(address, tmp_path / "other") as other:
        ledger.recall(bucket=0, now_ms=0)
        ledger.jobs.add(job())
        set_cap(other.connection, "", "total", 50, "UTC")
        with pytest.raises(OutdatedCapsError):
            ledger.jobs.reserve("job", [line(0)])
        assert [known.cap_picousd for known in ledger.shared_caps or ()] == [50]
        assert ledger.jobs.reserve("job", [line(0)]) == [None]


def test_a_run_has_one_owner_until_its_lease_has_ended(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        assert ledger.jobs.lease("run", "first", 60_000) == "first"
        assert ledger.jobs.lease("run", "second", 60_000) == "first"
        assert ledger.jobs.lease("run", "first", 0) == "first"
        assert ledger.jobs.lease("run", "second", 60_000) == "second"
        assert ledger.jobs.lease("run", "first", 60_000, dead="second") == "first"
        ledger.jobs.end_lease("run", "second")
        assert ledger.jobs.lease("run", "second", 60_000) == "first"
        ledger.jobs.end_lease("run", "first")
        assert ledger.jobs.lease("run", "second", 60_000) == "second"
        assert not ledger.jobs.renew_lease("run", "first", 60_000)
        assert ledger.jobs.renew_lease("run", "second", 60_000)
        ledger.jobs.end_lease("run", "second")
        assert not ledger.jobs.renew_lease("run", "second", 60_000)


def test_many_lines_without_a_result_are_ended(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.jobs.add(job())
        ledger.jobs.reserve("job", [line(n, worst=1) for n in range(1001)])
        assert (held(ledger), ledger.jobs.release("job", "expired", NOW_MS + 9)) == ((0, 1000), 1000)
        assert held(ledger) == (0, 0)


def test_a_saved_job_is_found_by_its_output(ledger: Store) -> None:
    ledger.jobs.add(job())
    ledger.jobs.save(job(sealed=True, vendor_id="batch_1").moved("queued"))
    (found,) = ledger.jobs.jobs(output="/out")
    assert (found.phase, found.sealed, found.vendor_id) == ("queued", True, "batch_1")
    assert ledger.jobs.jobs(output="/other") == []
    assert ledger.jobs.job("job") == found


def test_the_schemas_of_lines_are_kept_until_their_job_is_cleaned_up_after(ledger: Store) -> None:
    schemas = [SchemaOfLines(0, '{"z": 1, "a": 2}', "a.B"), SchemaOfLines(7, None)]
    for name in ("job", "job1", "job2"):
        ledger.jobs.add(job(name))
        ledger.jobs.add_schemas(name, schemas)
    assert ledger.jobs.schema_starts("job") == [0, 7]
    assert ledger.jobs.schemas("job", [0]) == schemas[:1]
    ledger.jobs.save(job(phase="done", cleaned_ms=NOW_MS))
    ledger.jobs.drop("job1", NOW_MS)
    assert [ledger.jobs.schema_starts(name) for name in ("job", "job1", "job2")] == [[], [], [0, 7]]


def test_a_job_that_has_ended_does_not_run_again() -> None:
    with pytest.raises(LedgerError, match="is done and cannot become running"):
        job(phase="done").moved("running")


def test_what_is_reserved_is_seen_by_other_processes(opened: Opened) -> None:
    with opened() as ledger, opened() as other:
        ledger.jobs.add(job())
        ledger.jobs.reserve("job", [line(0)])
        assert held(other) == (0, 100)
        assert [one.lines for one in other.jobs.jobs()] == [1]


@pytest.mark.parametrize("custom", ["job", "job-", "job-x", "job-01", "other-1", "job--1", "job-1.5", "job-²"])
def test_an_id_that_is_not_of_the_job_has_no_number(custom: str) -> None:
    assert number_of("job", custom) is None


def test_the_number_of_a_line_is_read_from_its_id() -> None:
    assert number_of("job", custom_id("job", 49_999)) == 49_999
