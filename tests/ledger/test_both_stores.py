"""What a ledger does, whichever database stores it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.circuits import HOUR_MS
from llmroute.config import Limit
from llmroute.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    LedgerError,
    RateLimitError,
    RequestError,
)
from llmroute.execution.accounting import ledger_access
from llmroute.execution.accounting.budget import Admission, RequestBudget
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.operations import Begin, Settle
from llmroute.ledger import spool
from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.buckets import NO_END_MS
from llmroute.ledger.entries import BudgetWatch, Pending, Settled
from llmroute.ledger.port import AttemptFilter, Span
from llmroute.ledger.reports import grouped
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics.values import CheckResult, Observation, ProbeClaim
from llmroute.ledger_location import LedgerLocation
from llmroute.routing.fallback import RULES
from llmroute.service.costs.report import CostQuery, report_of, reported_span
from llmroute.types import DIMENSIONS
from llmroute.worst_case import WorstCase
from tests.ledger.calls import FOREVER_MS, NOW_MS, cap, fixed, model_lines, row, settled, unique
from tests.ledger.stores import address, ledger, opened, pgbouncer, pooled, postgres

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import BudgetStatus, Cap
    from llmroute.ledger.reports import Line
    from llmroute.ledger.spool.rows import SpooledRow
    from llmroute.types import Dimension
    from tests.ledger.stores import Opened, Store

__all__ = ["address", "ledger", "opened", "pgbouncer", "pooled", "postgres"]

TRIP = next(rule.trip for kind, rule in RULES.items() if kind.__name__ == "UnreachableError")


def begin(store: Store, *entries: Pending) -> list[object]:
    return list(store.write(entries))


def call(store: Store, name: str, cost: int | None, status: str = "ok", **told: object) -> None:
    made = row(name, **told)  # type: ignore[arg-type]
    assert store.write([Pending(made)]) == [None]
    assert store.write([Settled(settled(made, cost, status))]) == [None]


def statuses(store: Store, *caps: Cap) -> list[tuple[int, int]]:
    with store.snapshot() as snapshot:
        return [(one.spent_picousd, one.reserved_picousd) for one in snapshot.budget_statuses(caps)]


def lines(store: Store, by: str) -> list[Line]:
    with store.snapshot() as snapshot:
        return grouped(snapshot, by, Span(None, FOREVER_MS))


def failure(at_ms: int, model: str = "gpt", **told: object) -> Observation:
    made = Observation("openai", model, "", 0, at_ms, "mark", succeeded=False, trip=TRIP)
    return made._replace(**told)  # type: ignore[arg-type]


def test_a_call_is_on_the_bill_once_it_has_ended(ledger: Store) -> None:
    made = row("one")
    ledger.write([Pending(made)])
    assert model_lines(ledger, None, FOREVER_MS) == []
    ledger.write([Settled(settled(made, 70))])
    [line] = model_lines(ledger, None, FOREVER_MS)
    assert (line.call_count, line.cost_picousd, line.input_tokens, line.latency_ms) == (1, 70, 7, 5)


@pytest.mark.parametrize("by", DIMENSIONS)
def test_calls_after_the_last_year_of_a_calendar_are_in_every_sum(ledger: Store, by: Dimension) -> None:
    for at_ms in (NOW_MS, 10**13 + 1, 3 * 10**14, 9 * 10**15):
        call(ledger, str(at_ms), 1, at_ms=at_ms)
    now, question = datetime.now().astimezone(), CostQuery("all", by=by)
    with ledger.snapshot() as snapshot:
        report = report_of(snapshot, question, reported_span(question, now), now)
        assert snapshot.notable_attempts(Span(None, NO_END_MS), 10).dearest[-1]["started_ms"] == 9 * 10**15
    assert (report.total.cost_picousd, sum(line.cost_picousd for line in report.groups)) == (4, 4)


def test_the_columns_of_an_attempt_are_those_of_the_table(ledger: Store) -> None:
    with ledger.snapshot() as snapshot:
        assert sorted(snapshot.attempt_columns()) == sorted(["id", "cost_usd", *COLUMNS])


def test_writing_an_entry_twice_changes_nothing(ledger: Store) -> None:
    made = row("one")
    ledger.write([Pending(made), Pending(made)])
    total = cap(10_000)
    assert statuses(ledger, total) == [(0, 100)]
    end = settled(made, 70)
    ledger.write([Settled(end), Settled(end)])
    ledger.write([Settled(settled(made, 99)), Pending(made)])
    assert statuses(ledger, total) == [(70, 0)]
    assert [line.call_count for line in model_lines(ledger, None, FOREVER_MS)] == [1]


def test_a_cap_admits_what_fits_and_refuses_the_next(ledger: Store) -> None:
    total = cap(250)
    outcomes = begin(ledger, *(Pending(row(str(number)), [total], fixed(100)) for number in range(3)))
    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], BudgetExceededError)
    assert outcomes[2].headroom_picousd == 50
    assert statuses(ledger, total) == [(0, 200)]


def test_the_completion_is_cut_to_what_the_tightest_cap_leaves(ledger: Store) -> None:
    made = row("one", workspace="team")
    worst = WorstCase(prompt_picousd=10, token_picousd=7, most_tokens=1000, least_tokens=1)
    caps = [cap(5000), cap(100, workspace="team"), cap(20, workspace="other")]
    assert begin(ledger, Pending(made, caps, worst)) == [None]
    assert made.reserved_picousd == 10 + 12 * 7


def test_what_was_spent_before_a_cap_was_set_counts(ledger: Store) -> None:
    call(ledger, "one", 60)
    call(ledger, "other", 30, workspace="team")
    ledger.write([Pending(row("pending"))])
    outcomes = begin(ledger, Pending(row("two"), [cap(290)], fixed(100)), Pending(row("three"), [cap(290)], fixed(101)))
    assert outcomes[0] is None
    assert isinstance(outcomes[1], BudgetExceededError)
    assert statuses(ledger, cap(290), cap(50, workspace="team")) == [(90, 200), (30, 0)]


def test_a_nearly_spent_cap_is_claimed_once_in_its_window(opened: Opened) -> None:
    limits = [cap(100), cap(1000, workspace="team")]

    def near(store: Store, made: AttemptRow, cost: int) -> list[BudgetStatus]:
        watch = BudgetWatch(limits, 0.8, [])
        broken = settled(row("broken", task="\ud800"), 1)
        store.write([Settled(broken), Settled(settled(made, cost), watch=watch)])
        return watch.near

    with opened() as ledger, opened() as other:
        made = row("one", workspace="team")
        assert begin(ledger, Pending(made, limits, fixed(90))) == [None]
        assert near(ledger, row("free"), 0) == []
        [status] = near(ledger, made, 85)
        assert (status.cap, status.spent_picousd) == (limits[0], 85)
        assert near(other, row("later"), 1) == []


def test_a_call_counts_in_the_window_in_which_it_began(ledger: Store) -> None:
    day_ms = 24 * HOUR_MS
    start_ms = NOW_MS // day_ms * day_ms
    today = cap(150, "day", start_ms=start_ms, end_ms=start_ms + day_ms)
    begin(ledger, Pending(row("one"), [today], fixed(100)))
    call(ledger, "early", 40, at_ms=start_ms - 1)
    assert statuses(ledger, today) == [(0, 100)]
    assert isinstance(begin(ledger, Pending(row("two"), [today], fixed(100)))[0], BudgetExceededError)


def test_one_row_that_does_not_fit_keeps_no_other_out(ledger: Store) -> None:
    broken = settled(row("broken", task="\ud800"), 1)
    huge = settled(row("huge"), 2**70)
    outcomes = ledger.write([Settled(settled(row("one"), 1)), Settled(broken), Settled(huge)])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], LedgerError)
    assert isinstance(outcomes[2], LedgerError)
    assert [line.call_count for line in model_lines(ledger, None, FOREVER_MS)] == [1]


def test_reports_group_by_every_dimension(ledger: Store) -> None:
    call(ledger, "one", 10, workspace="team", task="chat", strategy="cost", execution="nightly")
    call(ledger, "two", 20, workspace="Team", model="small", status="failed")
    call(ledger, "two", None, attempt=2, provider="mistral", at_ms=NOW_MS + HOUR_MS)
    assert [(line.key["model"], line.cost_picousd) for line in lines(ledger, "model")] == [
        ("small", 20),
        ("gpt", 10),
        ("gpt", 0),
    ]
    assert [line.key["workspace"] for line in lines(ledger, "workspace")] == ["Team", "team", ""]
    assert [line.key["execution"] for line in lines(ledger, "execution")] == ["", "nightly"]
    assert [(line.key["status"], line.failed_count) for line in lines(ledger, "status")] == [("failed", 1), ("ok", 0)]
    with ledger.snapshot() as snapshot:
        assert sorted(snapshot.workspaces()) == ["Team", "team"]


@pytest.mark.parametrize("workspace", [None, "team", ""])
def test_attempts_that_stand_out_are_those_of_the_whole_span(ledger: Store, workspace: str | None) -> None:
    rows = []
    for number in range(40):
        made = row(f"r{number}", at_ms=NOW_MS + number * 7 * HOUR_MS, workspace=(None, "team")[number % 2])
        made.service_tier = "batch" if number % 5 == 0 else None
        status = ("ok", "ok", "failed", "rejected")[number % 4]
        end = settled(made, None if number % 9 == 0 else number * 37 % 50, status)
        end.latency_ms, end.error = number * 23 % 41, "check" if status == "rejected" else None
        rows.append(end)
    assert ledger.write([Settled(one) for one in rows]) == [None] * 40
    begun = row("pending", at_ms=NOW_MS + HOUR_MS)
    assert ledger.write([Pending(begun)]) == [None]
    span = Span(NOW_MS + 3 * HOUR_MS, NOW_MS + 200 * HOUR_MS, workspace)
    with ledger.snapshot() as snapshot:
        found = snapshot.notable_attempts(span, 4)
    assert span.since_ms is not None
    own = [one for one in rows if span.since_ms <= one.started_ms < span.until_ms]
    own = [one for one in own if workspace in (None, one.workspace or "")]
    for told, column in ((found.dearest, "cost_picousd"), (found.slowest, "latency_ms")):
        highest = sorted((one for one in own if getattr(one, column)), key=lambda one: -getattr(one, column))
        assert [one[column] for one in told] == [getattr(one, column) for one in highest[:4]]
    kinds = Counter(one.error or one.status for one in own if one.status != "ok")
    assert found.failures == sorted(kinds.items(), key=lambda one: (-one[1], one[0]))


@pytest.mark.parametrize("workspace", [None, "team", ""])
def test_sums_of_tiers_are_those_of_their_attempts_by_the_length_of_the_prompt(
    ledger: Store, workspace: str | None
) -> None:
    rows = []
    for number in range(40):
        made = row(f"r{number}", at_ms=NOW_MS + number * HOUR_MS, workspace=(None, "team")[number % 2])
        made.service_tier = (None, "default", "standard", "batch", "flex")[number % 5]
        end = settled(made, None if number % 9 == 0 else number % 4 * 100)
        end.input_tokens, end.cached_input_tokens, end.output_tokens = 7 * number, number, 2 * number
        end.cache_write_tokens, end.cache_write_1h_tokens = number, None if number % 3 else number
        end.cost_basis = "at_most" if number % 13 == 0 else None if number % 2 else "reported"
        end.server_tools = '{"web_search_requests": 1}' if number % 17 == 0 else None
        rows.append(end)
    assert ledger.write([Settled(one) for one in rows]) == [None] * 40
    assert ledger.write([Pending(row("pending", at_ms=NOW_MS + HOUR_MS))]) == [None]
    span = Span(NOW_MS + 3 * HOUR_MS, NOW_MS + 38 * HOUR_MS, workspace)
    expected: dict[tuple[str | None, int], list[int]] = {}
    for one in rows[3:38]:
        if one.service_tier in ("batch", "flex") and workspace in (None, one.workspace or ""):
            assert one.input_tokens is not None
            sums = expected.setdefault((one.service_tier, 150 if one.input_tokens > 150 else 0), [0] * 8)
            counts = bool(one.cost_picousd) and one.cost_basis != "at_most" and one.server_tools is None
            usage = (one.input_tokens, one.cached_input_tokens, one.cache_write_tokens, one.cache_write_1h_tokens)
            added = (*usage, one.output_tokens, one.cost_picousd) if counts else (0,) * 6
            for place, value in enumerate((1, one.cost_picousd != 0 and not counts, *added)):
                sums[place] += value or 0
    with ledger.snapshot() as snapshot:
        found = snapshot.sums_by_tier(span, [150, 1_000])
        batches = snapshot.sums_of_batches(span, [150, 1_000])
    assert {(one.tier, one.longer_than): list(one[4:]) for one in found} == expected
    assert {(one.provider, one.model) for one in found} == {("openai", "gpt")}
    assert sorted(batches) == sorted(one for one in found if one.tier == "batch")


def test_attempts_are_selected_by_every_condition(ledger: Store) -> None:
    call(ledger, "one", 10, workspace="team", execution="nightly")
    call(ledger, "two", 20, status="failed", at_ms=NOW_MS + 5)
    ledger.write([Pending(row("three", at_ms=NOW_MS + 9, model="small"))])

    def named(**conditions: object) -> list[str]:
        wanted = AttemptFilter(**conditions)  # type: ignore[arg-type]
        with ledger.snapshot() as snapshot:
            found = [one["request_id"] for one in snapshot.attempts(wanted)]
            assert [one["request_id"] for one in snapshot.last_attempts(9, wanted)] == found
        return found

    assert named() == ["one", "two", "three"]
    assert named(workspace="team") == ["one"]
    assert named(execution="nightly") == ["one"]
    assert named(model="openai/small") == ["three"]
    assert named(status="failed") == ["two"]
    assert named(since_ms=NOW_MS + 5, until_ms=NOW_MS + 9) == ["two"]
    with ledger.snapshot() as snapshot:
        [last] = snapshot.last_attempts(1, AttemptFilter(status="ok"))
        assert list(last) == snapshot.attempt_columns()
    assert last["cost_usd"] == 10 / 1e12
    assert last["streaming"] == 0
    assert set(COLUMNS) < set(last)


def test_attempts_are_read_on_after_an_id(ledger: Store) -> None:
    call(ledger, "one", 10, workspace="team")
    call(ledger, "two", 20, at_ms=NOW_MS - 40 * 24 * HOUR_MS)
    ledger.write([Pending(row("three", workspace="team"))])
    with ledger.snapshot() as snapshot:
        first = snapshot.attempts_after(0, 2, AttemptFilter())
        assert [one["request_id"] for one in first] == ["one", "two"]
        after = int(first[-1]["id"])
        assert [one["request_id"] for one in snapshot.attempts_after(after, 9, AttemptFilter())] == ["three"]
        of_team = snapshot.attempts_after(0, 9, AttemptFilter(workspace="team"))
        assert [one["request_id"] for one in of_team] == ["one", "three"]
        assert snapshot.attempts_after(after + 10**6, 9, AttemptFilter()) == []


def test_a_cost_is_corrected_by_its_name_and_sums_follow(ledger: Store) -> None:
    call(ledger, "one", 10)
    call(ledger, "one", 30, attempt=2)
    ledger.write([Pending(row("two"))])
    done = ledger.correct("one/2", 45, NOW_MS)
    assert (done.attempt, done.old_picousd, done.new_picousd) == (2, 30, 45)
    assert ledger.correct(str(done.row_id), 50, NOW_MS).old_picousd == 45
    assert statuses(ledger, cap(1)) == [(60, 100)]
    [line] = model_lines(ledger, None, FOREVER_MS)
    assert (line.cost_picousd, line.fallback_cost_picousd, line.call_count) == (60, 50, 2)
    for wrong in ("none", "one", "two", "one/3"):
        with pytest.raises(RequestError):
            ledger.correct(wrong, 1, NOW_MS)


def test_pruning_keeps_the_sums(ledger: Store) -> None:
    old_ms = NOW_MS - 100 * 24 * HOUR_MS
    for number in range(5):
        call(ledger, f"old{number}", 10, at_ms=old_ms + number * 24 * HOUR_MS)
    call(ledger, "new", 7)
    ledger.write([Pending(row("pending", at_ms=old_ms))])
    before = [*model_lines(ledger, None, FOREVER_MS)]
    assert ledger.prunable(NOW_MS) == 5
    assert ledger.prune(NOW_MS) == 5
    assert ledger.prunable(NOW_MS) == 0
    assert model_lines(ledger, None, FOREVER_MS) == before
    with ledger.snapshot() as snapshot:
        assert [one["request_id"] for one in snapshot.attempts(AttemptFilter())] == ["pending", "new"]
    assert [line.key["execution"] for line in lines(ledger, "execution")] == ["(pruned)", ""]
    assert statuses(ledger, cap(1)) == [(57, 100)]


def test_a_backup_is_a_sqlite_ledger_with_the_same_rows_and_sums(ledger: Store, tmp_path: Path) -> None:
    old_ms = NOW_MS - 100 * 24 * HOUR_MS
    call(ledger, "old", 10, at_ms=old_ms)
    call(ledger, "kept", 5, task="chat")
    ledger.prune(NOW_MS - HOUR_MS)
    late = settled(row("late", at_ms=old_ms), 3)
    ledger.write([Settled(late), Pending(row("pending"))])
    target = tmp_path / "copy.db"
    ledger.backup(target)
    with closing(Ledger(target)) as copy:
        for by in ("model", "task", "status"):
            assert lines(copy, by) == lines(ledger, by)
        assert statuses(copy, cap(1)) == statuses(ledger, cap(1))
        with copy.snapshot() as copied, ledger.snapshot() as original:
            assert list(copied.attempts(AttemptFilter())) == list(original.attempts(AttemptFilter()))
    with pytest.raises(RequestError):
        ledger.backup(target)


def test_a_lost_call_keeps_the_tier_and_the_price_that_it_was_begun_with(ledger: Store) -> None:
    begun: dict[str, Any] = {"service_tier": "flex", "price": '{"input": 5}'}
    unbound: dict[str, Any] = {"cost_basis": "estimated", "expected_picousd": 40}
    nowhere: dict[str, Any] = {"pid": None, "host": None, "process": None, "deadline_ms": 1}
    ledger.write([Pending(row("one", **begun, **unbound, **nowhere))])
    ledger.tend(NOW_MS)
    ledger.recall(bucket=0, now_ms=NOW_MS)
    with ledger.snapshot() as snapshot:
        [lost] = snapshot.attempts(AttemptFilter())
    assert (
        lost.items() >= {"status": "lost", "service_tier": "flex", "price": '{"input": 5}', "cost_picousd": 40}.items()
    )


def test_spooled_rows_are_taken_in_once(opened: Opened) -> None:
    with opened() as ledger:
        made = settled(row("one"), 70)
        spool.keep(row("one"), ledger.path)
        spool.keep(made, ledger.path)
        spool.keep(settled(row("broken", task="\ud800"), 1), ledger.path)
        assert ledger.tend(NOW_MS) == []
        assert spool.waiting(ledger.path) == []
        [line] = model_lines(ledger, None, FOREVER_MS)
        assert (line.call_count, line.cost_picousd) == (1, 70)
        spool.keep(made, ledger.path)
        assert ledger.tend(NOW_MS) == []
        assert [one.call_count for one in model_lines(ledger, None, FOREVER_MS)] == [1]


def test_the_spooled_end_of_an_attempt_that_was_here_and_is_pruned_changes_nothing(ledger: Store) -> None:
    old_ms = NOW_MS - 100 * 24 * HOUR_MS
    call(ledger, "here", 10, at_ms=old_ms)
    spool.keep(settled(row("here", at_ms=old_ms), 10), ledger.path, begun=True)
    spool.keep(settled(row("new", at_ms=old_ms), 7), ledger.path)
    ledger.prune(NOW_MS)
    assert ledger.tend(NOW_MS) == []
    assert spool.waiting(ledger.path) == []
    [line] = model_lines(ledger, None, FOREVER_MS)
    assert (line.call_count, line.cost_picousd) == (2, 17)


@pytest.mark.parametrize("capped", [False, True])
def test_a_call_takes_in_all_spooled_rows_first_only_under_a_cap(
    opened: Opened, capped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(ledger_access, "SPOOL_S", 0.0)
    monkeypatch.setattr(ledger_access, "_MANY_ROWS", 5)
    notes: list[str] = []
    with opened() as ledger:
        now_ms = now_of(ledger)
        for number in range(6):
            place = spool.keep(settled(row(f"call {number}", at_ms=now_ms), 10), ledger.path)
        limits = [Limit("total", "", 1000)] if capped else []
        writer = LedgerWriter(LedgerLocation(ledger.path), notes.append, ledger, limits=limits)
        writer.statistics.recall(bucket=0, now_ms=now_ms)
        assert not place.exists() if capped else place.read_bytes().count(b"\n") == 4
        made = row("own", at_ms=now_ms)
        admission = Admission(fixed(100), RequestBudget())
        writer.begin(Begin(made, admission, Clock()))
        assert place.exists() != capped
        writer.settle(Settle(settled(made, 10), None))
        assert not place.exists(), "each use of the ledger takes in some"
        assert notes == (["note: 6 spooled calls are added to the ledger first, because a budget counts them"] * capped)
        assert sum(line.cost_picousd for line in model_lines(ledger, None, FOREVER_MS)) == 70


def test_spooled_rows_are_taken_in_by_groups_which_stay_so_when_the_process_ends(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ROWS_AT_ONCE", 2)
    groups, real = iter(range(2)), spool.taken

    def ended(place: Path) -> AbstractContextManager[tuple[list[SpooledRow], list[bytes]]]:
        if next(groups, None) is None:
            raise KeyboardInterrupt
        return real(place)

    with opened() as ledger:
        for number in range(5):
            place = spool.keep(settled(row(f"call {number}"), 1), ledger.path)
        with monkeypatch.context() as patch:
            patch.setattr(spool, "taken", ended)
            with pytest.raises(KeyboardInterrupt):
                ledger.tend(NOW_MS)
        assert [one.call_count for one in model_lines(ledger, None, FOREVER_MS)] == [4]
        assert place.read_bytes().count(b"\n") == 1
        assert ledger.tend(NOW_MS) == []
        assert [one.cost_picousd for one in model_lines(ledger, None, FOREVER_MS)] == [5]
        assert not place.exists()


def test_a_failing_model_rests_and_one_caller_probes_it(ledger: Store) -> None:
    now_ms = now_of(ledger)
    made = settled(row("one"), 0, "failed")
    ledger.write([Settled(made, failure(now_ms))])
    [breaker] = ledger.recall(bucket=0, now_ms=now_ms).breakers
    assert (breaker.provider, breaker.probing) == ("openai", False)

    def claim(owner: str, at_ms: int, **told: object) -> object:
        asked = ProbeClaim(owner, at_ms, at_ms + 60_000, "mark")._replace(**told)  # type: ignore[arg-type]
        return ledger.write([Pending(row(unique()), claim=asked)])[0]

    assert isinstance(claim("a", now_ms), CircuitOpenError)
    assert claim("a", now_ms, awake=True) is None
    later_ms = breaker.open_until_ms + 1
    assert claim("a", later_ms) is None
    assert isinstance(claim("b", later_ms), CircuitOpenError)
    assert claim("a", later_ms) is None
    well = Observation("openai", "gpt", "", 0, later_ms, "mark", succeeded=True, ttft_s=1.0)
    ledger.write([Settled(settled(row("two"), 1), well)])
    assert ledger.recall(bucket=0, now_ms=later_ms).breakers == []
    assert claim("b", later_ms) is None


def test_each_service_tier_of_a_model_has_a_circuit_of_its_own(ledger: Store) -> None:
    now_ms = now_of(ledger)

    def begin_at(tier: str) -> object:
        asked = ProbeClaim(unique(), now_ms, now_ms + 60_000, "mark", tier=tier)
        return ledger.write([Pending(row(unique()), claim=asked)])[0]

    def settle(name: str, observation: Observation) -> None:
        ledger.write([Settled(settled(row(name), 0), observation)])

    def tiers() -> set[str]:
        return {breaker.kind for breaker in ledger.recall(bucket=0, now_ms=now_ms).breakers}

    busy = failure(now_ms, trip=RULES[RateLimitError].trip)
    settle("flex", busy._replace(tier="flex"))
    assert (begin_at(""), begin_at("priority")) == (None, None)
    assert isinstance(begin_at("flex"), CircuitOpenError)
    well = Observation("openai", "gpt", "", 0, now_ms, "mark", succeeded=True)
    settle("standard", well)
    assert tiers() == {"endpoint:flex"}, "a success at another tier does not close it"
    settle("both", busy)
    assert tiers() == {"endpoint:flex", "endpoint"}
    settle("flex again", well._replace(tier="flex"))
    assert tiers() == {"endpoint"}
    settle("key", failure(now_ms, tier="flex", trip=RULES[AuthenticationError].trip))
    assert isinstance(begin_at("priority"), CircuitOpenError), "a key is that of every tier"


def test_a_failure_that_others_write_meanwhile_stops_an_attempt(opened: Opened) -> None:
    with opened() as mine, opened() as theirs:
        now_ms = now_of(mine)
        mine.recall(bucket=0, now_ms=now_ms)
        theirs.write([Settled(settled(row("one"), 0, "failed"), failure(now_ms))])
        claim = ProbeClaim("me", now_ms, now_ms + 60_000, "mark")
        [refusal] = mine.write([Pending(row("two"), claim=claim)])
        assert isinstance(refusal, CircuitOpenError)


def test_circuits_of_a_provider_are_reset(ledger: Store) -> None:
    now_ms = now_of(ledger)
    ledger.write([Settled(settled(row("one"), 0, "failed"), failure(now_ms))])
    assert ledger.reset_breakers("mistral") == 0
    assert ledger.reset_breakers("openai") == 1
    assert ledger.recall(bucket=0, now_ms=now_ms).breakers == []


def test_the_verdict_of_a_check_is_learned_and_an_answer_may_be_rejected(ledger: Store) -> None:
    now_ms = now_of(ledger)
    for number, passed in enumerate((True, False)):
        made = settled(row(f"c{number}"), 10)
        ledger.write([Settled(made)])
        made.status = "ok" if passed else "rejected"
        ledger.write([Settled(made, CheckResult("openai", "gpt", "chat", now_ms, passed))])
    assert {line.key["status"]: line.call_count for line in lines(ledger, "status")} == {"ok": 1, "rejected": 1}
    known = ledger.recall(bucket=0, task="chat", now_ms=now_ms)
    assert known[4]["openai", "gpt"] == pytest.approx((1, 2), rel=1e-6)
    assert ledger.recall(bucket=0, task="other", now_ms=now_ms)[4] == {}


def test_cached_input_is_recalled(ledger: Store) -> None:
    now_ms = now_of(ledger)
    tokens: dict[str, Any] = {"cached_input_tokens": 1500}
    calls: tuple[tuple[str, int, dict[str, Any], str], ...] = (
        ("a", 2000, tokens, "chat"),
        ("b", 2000, tokens, ""),
        ("c", 2001, tokens, ""),
        ("plain", 50, {}, ""),
    )
    for name, length, told, task in calls:
        made = replace(settled(row(name), 7), input_tokens=length, **told)
        known = Observation("openai", "gpt", "", 0, now_ms, "mark", succeeded=True, task=task, input_tokens=length)
        cached = told.get("cached_input_tokens", 0)
        ledger.write([Settled(made, known._replace(cached_tokens=cached))])
    told_of = ledger.recall(bucket=0, task="chat", now_ms=now_ms).cached_inputs["openai", "gpt"]
    assert told_of == pytest.approx((6051, 4500, 2000, 1500), rel=1e-3)


def test_retries_run_out(ledger: Store) -> None:
    now_ms = now_of(ledger)
    assert ledger.retry_allowed("openai", now_ms)
    for number in range(20):
        ledger.write([Pending(row(f"r{number}", at_ms=now_ms), retry=True)])
    assert not ledger.retry_allowed("openai", now_ms)
    assert ledger.retry_allowed("mistral", now_ms)


def test_latencies_lengths_and_reliabilities_are_recalled(ledger: Store) -> None:
    now_ms = now_of(ledger)
    for number in range(3):
        told = Observation(
            "openai", "gpt", "", 0, now_ms, "m", succeeded=True, ttft_s=2.0, task="chat", output_tokens=50
        )
        ledger.write([Settled(settled(row(f"l{number}"), 1), told)])
    known = ledger.recall(bucket=0, task="chat", now_ms=now_ms)
    assert known.latencies["openai", "gpt", "", "ttft"][0] == pytest.approx(3, rel=0.1)
    assert known.output_lengths["openai", "gpt", ""] == pytest.approx((3, 150, 3, 150), rel=1e-3)
    assert known.reliabilities["openai", "gpt"] == pytest.approx((3, 3), rel=1e-3)


def now_of(store: Store) -> int:
    """Return the present of the ledger's clock."""
    import time

    store.recall(bucket=0, now_ms=0)
    return time.time_ns() // 1_000_000 + store.clock_offset_ms
