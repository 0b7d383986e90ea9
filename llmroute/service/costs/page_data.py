"""The data of the HTML page of a cost report, from one snapshot of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from llmroute.ledger.port import NotableAttempts
from llmroute.service.costs.comparison import Comparison, CostScreen, chart_data, previous_period, what_if
from llmroute.service.costs.report import counted_span, open_report
from llmroute.service.costs.savings import Saving, price_lengths, saving

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.port import LedgerSnapshot, Span
    from llmroute.ledger.reports import Line
    from llmroute.service.costs.report import CostQuery

# Days with a bar of their own.
MOST_DAYS = 366
SHOWN_ATTEMPTS = 10
_NONE = NotableAttempts([], [], [])
GROUPED_BY = ("provider", "workspace", "task", "strategy", "status")


@dataclass(frozen=True, slots=True)
class CostPage:
    """The data of the page: a cost screen with its charts, groups by dimension, and single attempts.

    `batch_saving` is what the `batch_count` attempts of batch APIs would have cost more at today's standard list
    prices; None is unknown.
    """

    screen: CostScreen
    groups: dict[str, list[Line]]
    notable: NotableAttempts
    batch_count: int
    batch_saving: Saving | None


def cost_page(config: Config, question: CostQuery, *, now: datetime | None = None) -> CostPage:
    """Return the data of the page of a query.

    Raises:
        RequestError: the period or the span is not valid.
        LedgerError: the ledger cannot be read.
    """
    from llmroute.planning.default_registry import registry_of

    now = now or datetime.now().astimezone()
    registry = registry_of(config.config_dir, config.models, now.date())
    with open_report(config, question, now) as (report, reading, ends, now):
        before = previous_period(reading, report, now)
        charts = chart_data(reading, config, report, now, MOST_DAYS)
        span = counted_span(ends, question.workspace)
        groups = _groups(reading, span, report.by_model)
        notable = _NONE if reading is None else reading.notable_attempts(span, SHOWN_ATTEMPTS)
        batches = [] if reading is None else reading.sums_of_batches(span, price_lengths(registry))
    screen = CostScreen(report, Comparison(before, what_if(config, report, registry)), charts)
    return CostPage(
        screen,
        groups,
        notable,
        sum(sums.call_count for sums in batches),
        saving(batches, registry),
    )


def _groups(reading: LedgerSnapshot | None, span: Span, by_model: list[Line]) -> dict[str, list[Line]]:
    """Return the lines of each of GROUPED_BY, from one sum over the span for each table of sums."""
    from llmroute.ledger.reports import lines_of, regrouped

    by_outcome = [] if reading is None else lines_of(reading, ("workspace", "status"), span)
    sources = {"provider": by_model, "workspace": by_outcome, "status": by_outcome}
    for by in ("task", "strategy"):
        sources[by] = [] if reading is None else lines_of(reading, (by,), span)
    return {by: regrouped(sources[by], by) for by in GROUPED_BY}
