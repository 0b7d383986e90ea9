"""What the HTML page of a cost report shows, from one snapshot of the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmroute.registry.pricing import cost_picousd, price_on
from llmroute.service.costs.comparison import Comparison, CostScreen, chart_data, previous_period, what_if
from llmroute.service.costs.report import counted_span, report_of, reported_span
from llmroute.service.ledger_opening import snapshot
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.port import LedgerSnapshot, Span
    from llmroute.ledger.reports import Line
    from llmroute.registry import ModelRegistry
    from llmroute.service.costs.report import CostQuery
    from llmroute.types import Price

# Days with a bar of their own, and single attempts that are looked through: both limit the time and size of a page.
MOST_DAYS = 366
MOST_ATTEMPTS = 20_000
SHOWN_ATTEMPTS = 10
GROUPED_BY = ("provider", "workspace", "task", "strategy", "status")


@dataclass(frozen=True, slots=True)
class SingleAttempts:
    """Facts of the last `count` settled attempts of a span; `is_complete` says that these are all.

    `dearest` and `slowest` are rows of the ledger.  `errors` counts failures by kind.  `batch_saved_usd` is what
    attempts at the batch price would have cost more at the standard one.
    """

    count: int
    is_complete: bool
    dearest: list[dict[str, Any]]
    slowest: list[dict[str, Any]]
    errors: list[tuple[str, int]]
    batch_count: int
    batch_saved_usd: float


@dataclass(frozen=True, slots=True)
class CostPage:
    """The data of the page: a cost screen with its charts, groups by dimension, and single attempts.

    `cache_saved_usd` is what cached tokens would have cost more without a cache, at today's list prices.
    """

    screen: CostScreen
    groups: dict[str, list[Line]]
    attempts: SingleAttempts
    cache_saved_usd: float


def cost_page(config: Config, question: CostQuery, *, now: datetime | None = None) -> CostPage:
    """Return the data of the page of a query.

    Raises:
        RequestError: the period or the span is not valid.
        LedgerError: the ledger cannot be read.
    """
    from llmroute.planning.default_registry import registry_of

    now = now or datetime.now().astimezone()
    registry = registry_of(config.config_dir, config.models, now.date())
    ends = reported_span(question, now)
    with snapshot(config, now) as reading:
        report = report_of(reading, question, ends, now)
        before = previous_period(reading, report, now)
        charts = chart_data(reading, config, report, now, MOST_DAYS)
        span = counted_span(ends, question.workspace)
        groups = _groups(reading, span, report.by_model)
        attempts = _single_attempts(reading, span, report.total.call_count, registry)
    screen = CostScreen(report, Comparison(before, what_if(config, report, registry)), charts)
    return CostPage(screen, groups, attempts, _cache_saved_usd(report.by_model, registry))


def _groups(reading: LedgerSnapshot | None, span: Span, by_model: list[Line]) -> dict[str, list[Line]]:
    """Return the lines of each of GROUPED_BY from as few sums over the span as there are tables of sums."""
    from llmroute.ledger.reports import lines_of, regrouped

    by_purpose = [] if reading is None else lines_of(reading, ("task", "strategy"), span)
    by_outcome = [] if reading is None else lines_of(reading, ("workspace", "status"), span)
    sources = {
        "provider": by_model,
        "workspace": by_outcome,
        "task": by_purpose,
        "strategy": by_purpose,
        "status": by_outcome,
    }
    return {by: regrouped(sources[by], by) for by in GROUPED_BY}


def _single_attempts(
    reading: LedgerSnapshot | None, span: Span, call_count: int, registry: ModelRegistry
) -> SingleAttempts:
    from llmroute.ledger.port import AttemptFilter

    # The last attempts of a workspace are found without a scan; those of a workspace in a span are not.
    if span.workspace is None:
        wanted = AttemptFilter(span.since_ms, span.until_ms)
    else:
        wanted = AttemptFilter(workspace=span.workspace)
    found = [] if reading is None else reading.last_attempts(MOST_ATTEMPTS, wanted)
    since_ms = span.since_ms or 0
    rows = [row for row in found if row["status"] != "pending" and since_ms <= row["started_ms"] < span.until_ms]
    errors = Counter(str(row["error"] or row["status"]) for row in rows if row["status"] != "ok")
    batch = [row for row in rows if row["service_tier"] == "batch"]
    return SingleAttempts(
        count=len(rows),
        is_complete=len(rows) >= call_count,
        dearest=_highest(rows, "cost_picousd"),
        slowest=_highest(rows, "latency_ms"),
        errors=errors.most_common(),
        batch_count=len(batch),
        batch_saved_usd=sum(_batch_saved_picousd(row, registry) for row in batch) / PICO_PER_USD,
    )


def _highest(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    valued = [row for row in rows if row[column]]
    return sorted(valued, key=lambda row: (-row[column], row["id"]))[:SHOWN_ATTEMPTS]


def _batch_saved_picousd(row: dict[str, Any], registry: ModelRegistry) -> int:
    """Return the cost at today's standard list price minus the cost of an attempt; 0 where one is unknown."""
    price = _list_price(registry, row["provider"], row["model"])
    if price is None or row["cost_picousd"] is None:
        return 0
    tokens = (row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"], row["output_tokens"])
    standard = cost_picousd(Usage(*tokens), price)
    return 0 if standard is None else max(standard - row["cost_picousd"], 0)


def _cache_saved_usd(lines: list[Line], registry: ModelRegistry) -> float:
    saved = 0
    for line in lines:
        price = _list_price(registry, line.key["provider"], line.key["model"]) if line.cached_input_tokens else None
        if price is not None and price.input is not None and price.cache_read is not None:
            saved += line.cached_input_tokens * max(price.input - price.cache_read, 0)
    return saved / PICO_PER_USD


def _list_price(registry: ModelRegistry, provider: str, model: str) -> Price | None:
    """Return today's list price; None if it is unknown."""
    if provider not in registry.providers:
        return None
    return price_on(registry.get_model_config(provider, model), registry.today)
