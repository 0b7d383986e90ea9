"""Additions to a cost report: the previous period, days, budgets, and the cost on another model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.periods import before, clock_of, milliseconds, start_of
from llmroute.registry.pricing import cost_picousd, price_on
from llmroute.service.costs.maintenance import standings_in
from llmroute.service.costs.report import open_report
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.port import LedgerSnapshot
    from llmroute.ledger.reports import Line
    from llmroute.registry import ModelRegistry
    from llmroute.service.costs.report import CostQuery, CostReport

MOST_DAYS = 31


@dataclass(frozen=True, slots=True)
class PreviousPeriod:
    """The costs of the previous span of the same length."""

    since: datetime
    until: datetime
    total: Line


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The cost of the same tokens on the best model of a provider, at its list price of today.

    `most_used` says that the provider is the one with most calls, as there is no default one.
    """

    provider: str
    model: str
    most_used: bool
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparisons with a cost report."""

    before: PreviousPeriod | None
    what_if: WhatIf | None


@dataclass(frozen=True, slots=True)
class ChartData:
    """The data of charts.  `days` are the last days of the span, those without calls included."""

    days: list[tuple[date, Line]]
    budgets: list[BudgetStatus]


@dataclass(frozen=True, slots=True)
class CostScreen:
    """A cost report with what is shown beside it; `charts` is None where they are not drawn."""

    report: CostReport
    comparison: Comparison
    charts: ChartData | None


def cost_screen(config: Config, question: CostQuery, *, charts: bool, now: datetime | None = None) -> CostScreen:
    """Return a cost report with its comparison, and with chart data where `charts` asks for it, of one snapshot.

    Raises:
        RequestError: the period or the span is not valid.
        LedgerError: the ledger cannot be read.
    """
    from llmroute.planning.default_registry import registry_of

    now = now or datetime.now().astimezone()
    with open_report(config, question, now) as (report, reading, _, now):
        before = previous_period(reading, report, now)
        data = chart_data(reading, config, report, now) if charts else None
    registry = registry_of(config.config_dir, config.models, now.date())
    return CostScreen(report, Comparison(before, what_if(config, report, registry)), data)


def chart_data(
    reading: LedgerSnapshot | None, config: Config, report: CostReport, now: datetime, most_days: int = MOST_DAYS
) -> ChartData:
    """Return the last days of a report, `most_days` at most, and the budgets that bind its workspace."""
    statuses = standings_in(reading, config, now)
    own = [one for one in statuses if report.workspace is None or one.cap.workspace in ("", report.workspace)]
    return ChartData(_days(reading, report, now, most_days), own)


def previous_period(reading: LedgerSnapshot | None, report: CostReport, now: datetime) -> PreviousPeriod | None:
    """Return the costs of the span before a report's that is as long; None where the report has no beginning."""
    from llmroute.ledger.reports import by_model, total

    if report.period is not None:
        span = before(report.period, now)
    elif report.since is not None:
        since_ms = milliseconds(report.since)
        # In complete buckets, as the report itself.
        length_ms = -(-milliseconds(report.until) // BUCKET_MS) * BUCKET_MS - since_ms
        span = clock_of(now)(since_ms - length_ms), report.since
    else:
        span = None
    if span is None:
        return None
    ends = milliseconds(span[0]), milliseconds(span[1])
    return PreviousPeriod(*span, total([] if reading is None else by_model(reading, *ends, report.workspace)))


def _days(reading: LedgerSnapshot | None, report: CostReport, now: datetime, most_days: int) -> list[tuple[date, Line]]:
    """Return the last days of the span, those without attempts too; the first is that of the first attempt, if open."""
    from llmroute.ledger.port import Span
    from llmroute.ledger.reports import Line, grouped

    local = clock_of(now)
    last = local(milliseconds(report.until) - 1)
    first = start_of("day", last - timedelta(days=most_days - 1))
    assert first is not None
    since = first if report.since is None else max(first, report.since)
    span = Span(milliseconds(since), milliseconds(report.until), report.workspace)
    lines = [] if reading is None else grouped(reading, "day", span, local)
    by_day = {date.fromisoformat(line.key["day"]): line for line in lines}
    day = since.date() if report.since is not None else min(by_day, default=last.date())
    days = []
    while day <= last.date():
        days.append((day, by_day.get(day) or Line()))
        day += timedelta(days=1)
    return days


def what_if(config: Config, report: CostReport, registry: ModelRegistry) -> WhatIf | None:
    """Return the cost of the report's tokens on another model; None where it is unknown, or there are no tokens.

    The model is the one of highest quality that is not retired, of the default provider or else of the one with most
    calls.  Its base price is used, as price tiers depend on the single prompts.
    """
    if not report.total.total_tokens:
        return None
    provider = config.default_provider or _most_used(report)
    if provider not in registry.providers:
        return None
    models = (registry.resolve(name) for name in registry.list_models(provider))
    judged = [model for model in models if model.quality is not None and registry.status(model) != "retired"]
    best = max(judged, key=lambda model: (model.quality or 0, model.id), default=None)
    price = None if best is None else price_on(best, registry.today)
    if best is None or price is None:
        return None
    total = report.total
    usage = Usage(total.input_tokens, total.cached_input_tokens, None, total.output_tokens)
    cost = cost_picousd(usage, price._replace(tiers=()))
    if cost is None:
        return None
    return WhatIf(provider, best.id, config.default_provider is None, cost / PICO_PER_USD)


def _most_used(report: CostReport) -> str:
    counts: dict[str, int] = {}
    for line in report.by_model:
        counts[line.key["provider"]] = counts.get(line.key["provider"], 0) + line.call_count
    return min(counts, key=lambda name: (-counts[name], name))
