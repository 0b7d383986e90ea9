"""The bill is what the ledger says, in the user's own calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from llmroute.config import Limit
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning.default_registry import registry_of
from llmroute.planning.usage_cost import priced
from llmroute.service.costs import comparison
from llmroute.service.costs.report import CostQuery, bill
from llmroute.service.costs.savings import Saving
from llmroute.types import Service, Usage
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


@pytest.mark.parametrize(("period", "since"), [("yesterday", 3), ("last-week", -5), ("last-month", -30)])
def test_a_closed_period_has_the_calls_from_its_beginning_to_before_its_end(
    tmp_path: Path, period: str, since: int
) -> None:
    """`since` counts days of November; the ends are yesterday's midnight, Monday's and the first of the month."""
    end = {"yesterday": datetime(2026, 11, 4, tzinfo=BERLIN), "last-week": MOMENTS["this week"]}.get(
        period, MOMENTS["this month"]
    )
    begin = datetime(2026, 10, 31, tzinfo=BERLIN) + timedelta(days=since)
    minute = timedelta(minutes=15)
    config = House(tmp_path).service().config
    with Ledger(config.ledger_path) as ledger:
        for moment in (begin - minute, begin, end - minute, end):
            at_ms = milliseconds(moment)
            row = AttemptRow(str(moment), 1, at_ms, "openai", "m", streaming=False, status="ok", cost_picousd=10**10)
            ledger.settle(row)
    told = bill(config, CostQuery(period), now=NOW)
    assert (told.since, told.until, told.total.call_count) == (begin, end, 2)


def test_without_a_ledger_there_is_nothing_to_pay_and_none_is_made(tmp_path: Path) -> None:
    config = House(tmp_path).service().config
    told = bill(config, CostQuery("month"), now=NOW)
    assert (told.total.call_count, told.total.cost_usd, told.by_model) == (0, 0, [])
    assert not config.ledger_path.exists()


def test_a_report_its_days_and_its_budgets_are_of_one_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(House(tmp_path).service().config, limits=(Limit("month", "", 10**12),))

    def write(request: str) -> None:
        with Ledger(config.ledger_path) as ledger:
            started_ms = milliseconds(NOW) - 1000
            ledger.settle(
                AttemptRow(request, 1, started_ms, "openai", "m", streaming=False, status="ok", cost_picousd=7)
            )

    def previous_period(*arguments: Any) -> comparison.PreviousPeriod | None:
        write("while the report is read")
        return before(*arguments)

    write("before")
    before = comparison.previous_period
    monkeypatch.setattr(comparison, "previous_period", previous_period)
    screen = comparison.cost_screen(config, CostQuery("month"), charts=True, now=NOW)
    assert screen.charts is not None
    assert screen.report.total.cost_picousd == 7
    assert sum(line.cost_picousd for _, line in screen.charts.days) == 7
    assert [status.spent_picousd for status in screen.charts.budgets] == [7]
    assert bill(config, CostQuery("month"), now=NOW).total.cost_picousd == 14


def settle_at_tier(ledger: Ledger, model: str, tier: str | None, usage: Usage, **columns: Any) -> int:
    """Record a call at a service tier at the price of the catalogue; return what it saved in pico-USD."""
    provider, _, name = model.partition("/")
    price = registry_of(ledger.path.parent, {}).get_model_config(provider, name).prices[-1]
    row = AttemptRow(f"{model}-{tier}-{usage}", 1, milliseconds(NOW) - 1, provider, name, streaming=False, status="ok")
    row.count(usage)
    row.cost_picousd, row.service_tier = priced(usage, price, Service(tier)).cost_picousd, tier
    for column, value in columns.items():
        setattr(row, column, value)
    ledger.settle(row)
    standard = priced(usage, price).cost_picousd
    assert standard is not None
    return standard - (row.cost_picousd or 0)


def test_tiers_save_on_cache_writes_and_long_prompts_at_the_price_of_each(tmp_path: Path) -> None:
    config = House(tmp_path).service().config
    written = Usage(9_000, 1_000, 7_000, 50, cache_write_1h_tokens=4_000)
    with Ledger(config.ledger_path) as ledger:
        fast = settle_at_tier(ledger, "anthropic/claude-opus-4-8", "fast", written)
        batch = settle_at_tier(ledger, "anthropic/claude-opus-4-8", "batch", written)
        for tokens in (272_000, 272_001):
            batch += settle_at_tier(ledger, "openai/gpt-5.5", "batch", Usage(tokens, 100_000, None, 900))
        settle_at_tier(ledger, "openai/gpt-5.5", None, written)
    told = bill(config, CostQuery("month", by="tier"), now=NOW)
    assert told.savings == {"fast": Saving(fast), "batch": Saving(batch)}
    assert fast < 0 < batch


@pytest.mark.parametrize(
    ("tier", "columns"),
    [
        ("weird", {}),
        ("flex", {"cost_picousd": None}),
        ("flex", {"cost_picousd": 10**12, "cost_basis": "at_most"}),
        ("flex", {"server_tools": '{"web_search_requests": 1}'}),
    ],
)
def test_a_saving_leaves_out_calls_whose_tokens_are_not_what_they_cost(
    tier: str, columns: dict[str, Any], tmp_path: Path
) -> None:
    config = House(tmp_path).service().config
    usage = Usage(1_000, 0, None, 100)
    with Ledger(config.ledger_path) as ledger:
        settle_at_tier(ledger, "openai/gpt-5.4-mini", tier, usage, **columns)
        settle_at_tier(ledger, "openai/gpt-5.4-mini", tier, Usage(0, 0, None, 0))
        assert bill(config, CostQuery("month", by="tier"), now=NOW).savings == {}
        saved = settle_at_tier(ledger, "openai/gpt-5.5", "flex", usage)
    told = bill(config, CostQuery("month", by="tier"), now=NOW).savings
    assert told == {"flex": Saving(saved, is_partial=tier == "flex")}
