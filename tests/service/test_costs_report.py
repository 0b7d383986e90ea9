"""The bill is what the ledger says, in the user's own calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.costs.report import CostQuery, bill
from tests.support.provider_servers import House

if TYPE_CHECKING:
    from pathlib import Path

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 4, 12, 0, tzinfo=BERLIN)
MOMENTS = {
    "earlier today": datetime(2026, 11, 4, 0, 0, tzinfo=BERLIN),
    "this week": datetime(2026, 11, 2, 0, 0, tzinfo=BERLIN),
    "this month": datetime(2026, 11, 1, 0, 0, tzinfo=BERLIN),
    "this year": datetime(2026, 10, 31, 22, 59, tzinfo=UTC),
    "last year": datetime(2025, 12, 31, 23, 59, tzinfo=BERLIN),
}


@pytest.mark.parametrize(("period", "count"), [("day", 1), ("week", 2), ("month", 3), ("year", 4), ("all", 5)])
def test_a_bill_is_of_the_calendar_period(tmp_path: Path, period: str, count: int) -> None:
    config = House(tmp_path).service().config
    with Ledger(config.ledger_path) as ledger:
        for name, moment in MOMENTS.items():
            ledger.settle(
                AttemptRow(
                    name, 1, milliseconds(moment), "openai", "m", streaming=False, status="ok", cost_picousd=10**10
                )
            )
    told = bill(config, CostQuery(period), now=NOW)
    assert told.total.call_count == count
    assert told.total.cost_usd == pytest.approx(count * 0.01)
    assert told.until == NOW


def test_without_a_ledger_there_is_nothing_to_pay_and_none_is_made(tmp_path: Path) -> None:
    config = House(tmp_path).service().config
    told = bill(config, CostQuery("month"), now=NOW)
    assert (told.total.call_count, told.total.cost_usd, told.by_model) == (0, 0, [])
    assert not config.ledger_path.exists()
