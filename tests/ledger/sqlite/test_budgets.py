"""What a cap counts, and when it resets."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmroute.errors import BudgetExceededError
from llmroute.ledger import periods
from llmroute.ledger.budgets import dollars
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.maintenance.orphans import lose
from llmroute.ledger.sqlite.store import Ledger
from llmroute.worst_case import WorstCase
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUARTER = 900_000
BEGIN = NOW_MS // QUARTER * QUARTER


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def spend(ledger: Ledger, request: str, cost: int, **told: object) -> None:
    made = row(request, **told)  # type: ignore[arg-type]
    ledger.begin(made)
    ledger.settle(settled(made, cost))


def test_a_cap_that_is_set_later_counts_what_was_spent_and_reserved_before(ledger: Ledger) -> None:
    spend(ledger, "before", 60)
    ledger.begin(row("under way", reserved=30))
    with pytest.raises(BudgetExceededError) as refusal:
        ledger.begin(row("a"), [cap(100)], fixed(11))
    assert refusal.value.headroom_picousd == 10
    ledger.begin(row("b"), [cap(100)], fixed(10))


def test_a_completion_is_limited_to_what_the_tightest_cap_leaves(ledger: Ledger) -> None:
    made = row("a", workspace="w")
    ledger.begin(made, [cap(1000), cap(100, workspace="w")], WorstCase(10, 7, most_tokens=50, least_tokens=10))
    assert made.reserved_picousd == 10 + 12 * 7
    with pytest.raises(BudgetExceededError):
        ledger.begin(row("b", workspace="w"), [cap(1000), cap(100, workspace="w")], WorstCase(0, 7, 50, 1))
    unlimited = row("c")
    ledger.begin(unlimited, [], WorstCase(10, 7, most_tokens=50, least_tokens=10))
    assert unlimited.reserved_picousd == 10 + 50 * 7


def test_what_is_not_spent_of_a_reservation_is_free_again(ledger: Ledger) -> None:
    made = row("a")
    ledger.begin(made, [cap(100)], fixed(100))
    with pytest.raises(BudgetExceededError):
        ledger.begin(row("b"), [cap(100)], fixed(1))
    ledger.settle(settled(made, 40))
    ledger.begin(row("c"), [cap(100)], fixed(60))


def test_a_new_window_starts_at_nothing_and_late_ends_count_in_the_window_they_began_in(ledger: Ledger) -> None:
    old, new = cap(100, "day", start_ms=BEGIN), cap(100, "day", start_ms=BEGIN + QUARTER)
    late = row("late", at_ms=BEGIN + 1)
    ledger.begin(late, [old], fixed(100))
    ledger.begin(row("today", at_ms=BEGIN + QUARTER), [new], fixed(100))
    ledger.settle(settled(late, 100))
    now = summed_status(ledger.db, new)
    assert (now.spent_picousd, now.reserved_picousd) == (0, 100)
    assert check(ledger.path, NOW_MS).faults == ()


def test_the_tightest_of_several_caps_binds_and_is_named(ledger: Ledger) -> None:
    caps = [cap(1000, "month"), cap(50, "day", "w"), cap(10, "day", "other")]
    with pytest.raises(BudgetExceededError, match=r"of workspace w of \$0\.00000000005 a day"):
        ledger.begin(row("a", workspace="w"), caps, fixed(51))
    ledger.begin(row("b", workspace="w"), caps, fixed(50))
    ledger.begin(row("c"), caps, fixed(950))
    with pytest.raises(BudgetExceededError, match="a month has"):
        ledger.begin(row("d"), caps, fixed(1))


def test_a_refusal_says_cap_spent_reserved_and_when_it_starts_anew(ledger: Ledger) -> None:
    spend(ledger, "a", 3 * 10**12)
    ledger.begin(row("b", reserved=10**12))
    with pytest.raises(BudgetExceededError) as refusal:
        ledger.begin(row("c"), [cap(5 * 10**12, "month", end_ms=NOW_MS)], fixed(2 * 10**12))
    told = refusal.value.message
    for part in ("$5.00 a month", "$1.00 left", "$3.00 spent", "$1.00 reserved", "resets on 2026-09"):
        assert part in told


def test_a_free_model_runs_under_a_cap_that_is_used_up(ledger: Ledger) -> None:
    spend(ledger, "a", 100)
    ledger.begin(row("b"), [cap(100)], fixed(0))
    with pytest.raises(BudgetExceededError):
        ledger.begin(row("c"), [cap(90)], fixed(0))


def test_a_lost_call_that_turns_up_is_counted_at_what_it_cost(ledger: Ledger) -> None:
    made = row("a")
    ledger.begin(made, [cap(100)], fixed(100))
    (row_id,) = ledger.db.execute("SELECT id FROM attempts").fetchone()
    with ledger.connection.transaction() as db:
        lose(db, [row_id], NOW_MS)
    assert summed_status(ledger.db, cap(100)).spent_picousd == 100
    ledger.settle(settled(made, 40))
    assert summed_status(ledger.db, cap(100)).spent_picousd == 40
    ledger.settle(settled(made, 99))
    assert summed_status(ledger.db, cap(100)).spent_picousd == 40, "settled once and for all"
    assert check(ledger.path, NOW_MS).faults == ()


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "settle", "lose", "unknown"]),
        st.integers(0, 5),
        st.sampled_from([None, "w", "v"]),
        st.integers(0, 60),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps)
# A clock that goes back finds what it counted ahead still counted: nothing is let in, and nothing was passed.
@example(steps=[("begin", 0, None, 60, 0), ("begin", 1, None, 60, 1), ("begin", 2, None, 10, 0)])
def test_whatever_happens_caps_count_what_the_rows_say_and_are_not_passed(
    steps: list[tuple[str, int, str | None, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Ledger(tmp_path_factory.mktemp("l") / "ledger.db") as ledger:
        made: dict[int, object] = {}
        for step, number, workspace, amount, quarter in steps:
            at_ms = BEGIN + quarter * QUARTER
            caps = [cap(100, "day", start_ms=at_ms), cap(150), cap(70, "total", "w")]
            if step == "begin" and number not in made:
                new = row(str(number), at_ms=at_ms, workspace=workspace)
                try:
                    ledger.begin(new, caps, fixed(amount))
                except BudgetExceededError:
                    continue
                made[number] = new
                for one in caps:
                    if one.workspace in ("", workspace):
                        now = summed_status(ledger.db, one)
                        assert now.spent_picousd + now.reserved_picousd <= one.cap_picousd
            elif step in ("settle", "unknown") and number in made:
                old = made[number]
                cost = None if step == "unknown" else min(amount, old.reserved_picousd)  # type: ignore[attr-defined]
                ledger.settle(settled(old, cost))  # type: ignore[arg-type]
            elif step == "lose":
                with ledger.connection.transaction() as db:
                    lose(db, [number + 1], at_ms)
        found = check(ledger.path, NOW_MS)
        assert found.faults == ()


@pytest.mark.parametrize(
    ("period", "day", "begin", "end"),
    [
        ("day", (2026, 3, 29), "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("day", (2026, 10, 25), "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        ("week", (2026, 3, 29), "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("month", (2026, 1, 31), "2026-01-01T00:00:00+01:00", "2026-02-01T00:00:00+01:00"),
        ("month", (2026, 2, 1), "2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00"),
        ("month", (2026, 12, 31), "2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
    ],
)
def test_windows_begin_and_end_on_the_users_calendar(
    period: str, day: tuple[int, int, int], begin: str, end: str
) -> None:
    now = datetime(*day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    first, last = periods.window(period, now)
    assert first is not None
    assert last is not None
    assert (first.isoformat(), last.isoformat()) == (begin, end)


def test_dollars_are_exact() -> None:
    assert dollars(20 * 10**12) == "$20.00"
    assert dollars(1) == "$0.000000000001"
    assert dollars(-1_500_000_000_000) == "-$1.50"
