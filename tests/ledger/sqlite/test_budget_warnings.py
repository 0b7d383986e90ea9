"""A ledger lets one process warn that most of a cap is spent, once in each window."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from llmroute.ledger.budgets import BudgetStatus, Cap, near_cap_warning
from llmroute.ledger.entries import BudgetWatch, Settled
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import NOW_MS, fixed, row, settled, unique

if TYPE_CHECKING:
    from pathlib import Path

CAP = Cap("day", "", 100, NOW_MS - 3_600_000, NOW_MS + 3_600_000)
WARN_AT = 0.8


def spend(ledger: Ledger, name: str, picousd: int, cap: Cap = CAP) -> None:
    made = row(name, at_ms=cap.start_ms + 1)
    ledger.begin(made, [cap], fixed(picousd))
    ledger.settle(settled(made, picousd))


def watched(ledger: Ledger, cap: Cap = CAP) -> list[BudgetStatus]:
    """Settle a call that costs nothing and watches the cap; return it if it is nearly spent."""
    watch = BudgetWatch([cap], WARN_AT, [])
    assert ledger.write([Settled(settled(row(unique(), at_ms=cap.start_ms), 0), watch=watch)]) == [None]
    return watch.near


def claimed(ledger: Ledger, cap: Cap = CAP) -> list[int]:
    return [status.spent_picousd for status in watched(ledger, cap)]


def test_a_cap_is_claimed_once_from_the_share_on(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        spend(ledger, "a", 79)
        assert claimed(ledger) == []
        spend(ledger, "b", 1)
        assert claimed(ledger) == [80]
        spend(ledger, "c", 10)
        assert claimed(ledger) == []


def test_a_reservation_is_not_spent(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.begin(row("a", at_ms=CAP.start_ms + 1), [CAP], fixed(90))
        assert claimed(ledger) == []


def test_the_next_window_and_another_amount_are_claimed_anew(tmp_path: Path) -> None:
    assert CAP.end_ms is not None
    with Ledger(tmp_path / "ledger.db") as ledger:
        spend(ledger, "a", 90)
        assert claimed(ledger) == [90]
        tomorrow = CAP._replace(start_ms=CAP.end_ms, end_ms=CAP.end_ms + 7_200_000)
        spend(ledger, "b", 81, tomorrow)
        assert claimed(ledger, tomorrow) == [81]
        raised = tomorrow._replace(cap_picousd=110)
        spend(ledger, "c", 9, raised)
        assert claimed(ledger, raised) == [90]


def test_of_many_processes_one_claims(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        spend(ledger, "a", 90)

    def claim(_: int) -> int:
        with Ledger(path) as own:
            return len(claimed(own))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(16))) == 1


def test_the_warning_says_how_much_is_spent_and_left(tmp_path: Path) -> None:
    cap = CAP._replace(period="total", cap_picousd=20 * 10**12, end_ms=None)
    with Ledger(tmp_path / "ledger.db") as ledger:
        spend(ledger, "a", 17 * 10**12, cap)
        (status,) = watched(ledger, cap)
    assert near_cap_warning(status) == (
        "warning: 85% of a budget is spent: the budget of $20.00 in all has $3.00 left ($17.00 spent, $0.00 reserved)"
    )
