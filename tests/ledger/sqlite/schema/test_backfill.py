"""The coarser sums say what the rollups say, also of the time before there were any, and whoever reads meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.buckets import NEVER_DAY
from llmroute.ledger.port import AttemptFilter, Span
from llmroute.ledger.reports import Line, grouped
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.maintenance.prune import prune
from llmroute.ledger.sqlite.maintenance.repair import repair_sums
from llmroute.ledger.sqlite.queries.attempts import attempts, last_attempts
from llmroute.ledger.sqlite.schema import backfill, migrations
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.costs.report import CostQuery, report_of, reported_span
from llmroute.types import DIMENSIONS as ALL
from tests.ledger.calls import NOW_MS, cap, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUARTER_MS = 900_000
# Of executions and tiers the rows tell, which are no sums.
DIMENSIONS = [name for name in ALL if name not in ("execution", "tier")]
DAY_MS = 96 * QUARTER_MS
CALLS = 120
# Two months back, an odd number of minutes apart, so that days and quarters are cut everywhere.
EVERY_MS = 41 * 60_000 * 17
SPANS = [
    Span(None, NOW_MS + DAY_MS),
    Span(NOW_MS - 30 * DAY_MS, NOW_MS, "w1"),
    Span(NOW_MS - 30 * DAY_MS, NOW_MS - 3 * QUARTER_MS),
    Span(NOW_MS - 7 * QUARTER_MS, NOW_MS),
    Span(NOW_MS - 12 * DAY_MS + 5 * QUARTER_MS, NOW_MS - 11 * DAY_MS - 5 * QUARTER_MS),
    Span(NOW_MS - DAY_MS, NOW_MS - DAY_MS),
]


def calls(first: int, end: int) -> Iterator[AttemptRow]:
    for call in range(first, end):
        made = row(
            f"{call:04}", at_ms=NOW_MS - call * EVERY_MS, workspace=(None, "w1", "w2")[call % 3], model=f"m{call % 2}"
        )
        yield settled(made, call, "failed" if call % 7 == 0 else "ok")


def fill_in(ledger: Ledger, first: int, end: int) -> None:
    for made in calls(first, end):
        ledger.settle(made)


def fill_in_as_then(ledger: Ledger, first: int, end: int) -> None:
    """Write calls with the columns that the ledger's tables have, as the llmroute of its time did."""
    columns = [told[1] for told in ledger.db.execute("PRAGMA table_info(attempts)") if told[1] in COLUMNS]
    for made in calls(first, end):
        ledger.db.execute(
            f"INSERT INTO attempts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [getattr(made, column) for column in columns],
        )


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger as it was before there were coarser sums."""
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:3])
        with Ledger(path) as ledger:
            fill_in_as_then(ledger, 20, CALLS)
    return path


def told(ledger: Ledger) -> list[list[Line]]:
    with ledger.snapshot() as snapshot:
        return [
            grouped(snapshot, by, span, lambda at_ms: datetime.fromtimestamp(at_ms / 1000, UTC))
            for by in DIMENSIONS
            for span in SPANS
        ]


def lacks_savings(ledger: Ledger, period: str) -> bool:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    question = CostQuery(period)
    with ledger.snapshot() as snapshot:
        return report_of(snapshot, question, reported_span(question, now), now).cache_saving_is_partial


def from_rollups(ledger: Ledger) -> list[list[Line]]:
    """Read the same while nothing coarser is there."""
    with ledger.connection.transaction() as db:
        (since,) = db.execute("SELECT since_day FROM coarse").fetchone()
        db.execute("UPDATE coarse SET since_day = ?", (NEVER_DAY,))
    found = told(ledger)
    with ledger.connection.transaction() as db:
        db.execute("UPDATE coarse SET since_day = ?", (since,))
    return found


def test_reports_are_the_same_before_and_while_and_after_the_coarser_sums_are_made(
    before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(before) as ledger:
        assert backfill.lacking(ledger.db)
        fill_in(ledger, 0, 20)
        caps = [cap(10**6), cap(10**6, workspace="w1", start_ms=NOW_MS - 20 * DAY_MS)]
        whole, spent = from_rollups(ledger), [summed_status(ledger.db, one).spent_picousd for one in caps]
        assert spent == [
            sum(range(CALLS)),
            sum(call for call in range(1, CALLS, 3) if call * EVERY_MS <= 20 * DAY_MS),
        ]
        steps = 0
        with monkeypatch.context() as watched:
            make = backfill._sum_days

            def stop_and_look(db: object) -> None:
                nonlocal steps
                steps += 1
                make(db)  # type: ignore[arg-type]
                assert told(ledger) == whole
                assert [summed_status(ledger.db, one).spent_picousd for one in caps] == spent

            watched.setattr(backfill, "_sum_days", stop_and_look)
            backfill.fill(ledger.connection)
        assert steps > 5
        assert not backfill.lacking(ledger.db)
        assert told(ledger) == whole
        with ledger.snapshot() as snapshot:
            assert snapshot.workspaces() == ["w1", "w2"]
    assert check(before, NOW_MS).faults == ()


def test_a_month_is_read_from_whole_days(before: Path) -> None:
    with Ledger(before) as ledger:
        backfill.fill(ledger.connection)
        ledger.db.execute("DELETE FROM days WHERE day = ?", ((NOW_MS - 12 * DAY_MS) // DAY_MS,))
        ledger.db.execute("DELETE FROM quarters WHERE quarter / 96 = ?", ((NOW_MS - 12 * DAY_MS) // DAY_MS,))
        whole = from_rollups(ledger)
        differing = [now != then for now, then in zip(told(ledger), whole, strict=True)]
        by = [name for name in DIMENSIONS for _ in SPANS]
        assert {name for name, differs in zip(by, differing, strict=True) if differs} == set(DIMENSIONS) - {
            "task",
            "strategy",
        }


def test_wrong_coarser_sums_are_found_and_made_anew(before: Path) -> None:
    with Ledger(before) as ledger:
        backfill.fill(ledger.connection)
        whole = told(ledger)
        ledger.db.execute("UPDATE days SET cost_picousd = cost_picousd + 1 WHERE model = 'm1'")
        ledger.db.execute("DELETE FROM quarters WHERE workspace = 'w2'")
    found = check(before, NOW_MS)
    assert [fault.partition(" ")[2].partition(" are")[0] for fault in found.faults] == [
        f"sums of {len({(NOW_MS - call * EVERY_MS) // DAY_MS for call in range(21, CALLS, 2)})} days",
        f"sums of {len(range(20, CALLS, 3))} workspace quarter-hours",
    ]
    with Ledger(before) as ledger:
        repair_sums(ledger.connection, NOW_MS)
        assert told(ledger) == whole
    assert check(before, NOW_MS).faults == ()


def test_pruned_attempts_stay_in_every_sum(before: Path) -> None:
    with Ledger(before) as ledger:
        whole = from_rollups(ledger)
        prune(ledger.connection, NOW_MS - 20 * DAY_MS)
        backfill.fill(ledger.connection)
        assert told(ledger) == whole
        repair_sums(ledger.connection, NOW_MS)
        assert told(ledger) == whole


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("workspace", ["w1", "", "nobody"])
def test_the_last_attempts_of_a_workspace_are_its_last_also_those_under_way(
    before: Path, workspace: str, filled: bool
) -> None:
    with Ledger(before) as ledger:
        ledger.begin(row("under way", at_ms=NOW_MS - 30 * EVERY_MS - 1, workspace="w1"))
        if filled:
            backfill.fill(ledger.connection)
        everything = [one for one in attempts(ledger.db, AttemptFilter()) if (one["workspace"] or "") == workspace]
        assert len(everything) == {"w1": 34, "": 33, "nobody": 0}[workspace]
        for last in (1, 7, 12, 1_000):
            assert list(last_attempts(ledger.db, last, AttemptFilter(workspace=workspace))) == everything[-last:]
        assert list(attempts(ledger.db, AttemptFilter(workspace=workspace))) == everything


def test_savings_by_caches_of_an_older_ledger_are_computed_from_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:15])
        with Ledger(path) as ledger:
            for made in calls(20, CALLS):
                made.price = '{"input": 10, "output": 20, "cache_read": 1}'
                made.input_tokens, made.cached_input_tokens = 100, 60
                ledger.settle(made)
    with Ledger(path) as ledger:
        fill_in(ledger, 0, 20)
        assert check(path, NOW_MS).faults == ()
        assert lacks_savings(ledger, "all")
        assert lacks_savings(ledger, "month")
        ledger.prune(NOW_MS - 20 * DAY_MS)
        [[first, *_], *_] = told(ledger)
        assert 0 < first.call_count < CALLS - 20
        found = [line for lines in told(ledger)[: len(SPANS)] for line in lines]
        assert {line.cache_saved_picousd * 60 - 540 * line.cached_input_tokens for line in found} == {0}
        assert sum(line.cache_saved_picousd for line in told(ledger)[0]) == 540 * (CALLS - 20)
        assert not lacks_savings(ledger, "all")
    assert check(path, NOW_MS).faults == ()
