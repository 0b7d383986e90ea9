"""What stands beside a bill: the span before, each day, the budgets, what another model would have cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.periods import before, clock_of, milliseconds, start_of
from llmroute.registry.pricing import cost_picousd, price_on
from llmroute.service.costs.maintenance import standings
from llmroute.service.ledger_opening import opened
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.reports import Line
    from llmroute.registry import ModelRegistry
    from llmroute.service.costs.report import CostReport

MOST_DAYS = 31


@dataclass(frozen=True, slots=True)
class PreviousPeriod:
    """The span before that is as long, and what it came to."""

    since: datetime
    until: datetime
    total: Line


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the tokens of a bill would have cost on the best model of a provider, at its list price of today.

    `most_used` says that the provider is not the default one, but the one that most calls went to.
    """

    provider: str
    model: str
    most_used: bool
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is said beside the bill."""

    before: PreviousPeriod | None
    what_if: WhatIf | None


@dataclass(frozen=True, slots=True)
class ChartData:
    """What is drawn beside the bill.  `days` are the last ones of the span, each in it, also those without a call."""

    days: list[tuple[date, Line]]
    budgets: list[BudgetStatus]


def picture(config: Config, told: CostReport, *, now: datetime | None = None) -> Comparison:
    """Return what is said beside a bill.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    now = now or told.until
    from llmroute.planning.default_registry import registry_of

    registry = registry_of(config.config_dir, config.models, now.date())
    return Comparison(_before(config, told, now), what_if(config, told, registry))


def bars(config: Config, told: CostReport, *, now: datetime | None = None) -> ChartData:
    """Return what is drawn beside a bill.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    now = now or told.until
    every = standings(config, now=now)
    own = [one for one in every if told.workspace is None or one.cap.workspace in ("", told.workspace)]
    return ChartData(_days(config, told, now), own)


def _before(config: Config, told: CostReport, now: datetime) -> PreviousPeriod | None:
    if told.period is not None:
        span = before(told.period, now)
    elif told.since is not None:
        since_ms = milliseconds(told.since)
        # As many whole quarter-hours as the bill itself is made of.
        length_ms = -(-milliseconds(told.until) // BUCKET_MS) * BUCKET_MS - since_ms
        span = clock_of(now)(since_ms - length_ms), told.since
    else:
        span = None
    if span is None:
        return None
    from llmroute.ledger.reports import by_model, total

    with opened(config, now) as ledger:
        ends = milliseconds(span[0]), milliseconds(span[1])
        lines = [] if ledger is None else by_model(ledger, *ends, told.workspace)
    return PreviousPeriod(*span, total(lines))


def _days(config: Config, told: CostReport, now: datetime) -> list[tuple[date, Line]]:
    """Return the last days of the span, those without a call too.

    A span without a beginning begins with the first call.
    """
    from llmroute.ledger.reports import Line, Span, grouped

    local = clock_of(now)
    last = local(milliseconds(told.until) - 1)
    first = start_of("day", last - timedelta(days=MOST_DAYS - 1))
    assert first is not None
    since = first if told.since is None else max(first, told.since)
    with opened(config, now) as ledger:
        span = Span(milliseconds(since), milliseconds(told.until), told.workspace)
        lines = [] if ledger is None else grouped(ledger, "day", span, local)
    found = {date.fromisoformat(line.key["day"]): line for line in lines}
    day = since.date() if told.since is not None else min(found, default=last.date())
    days = []
    while day <= last.date():
        days.append((day, found.get(day) or Line()))
        day += timedelta(days=1)
    return days


def what_if(config: Config, told: CostReport, registry: ModelRegistry) -> WhatIf | None:
    """Return what the tokens of the bill would have cost elsewhere; None where nobody can say, or there are none.

    The best model is the living one of greatest quality, of the default provider or else of the one called most.  The
    price is the list's base price: how the tokens would have fallen into tiers is not known.
    """
    if not told.total.total_tokens:
        return None
    provider = config.default_provider or _most_used(told)
    if provider not in registry.providers:
        return None
    living = (registry.resolve(name) for name in registry.list_models(provider))
    judged = [model for model in living if model.quality is not None and registry.status(model) != "retired"]
    best = max(judged, key=lambda model: (model.quality or 0, model.id), default=None)
    price = None if best is None else price_on(best, registry.today)
    if best is None or price is None:
        return None
    total = told.total
    usage = Usage(total.input_tokens, total.cached_input_tokens, None, total.output_tokens)
    cost = cost_picousd(usage, price._replace(tiers=()))
    if cost is None:
        return None
    return WhatIf(provider, best.id, config.default_provider is None, cost / PICO_PER_USD)


def _most_used(told: CostReport) -> str:
    counts: dict[str, int] = {}
    for line in told.by_model:
        counts[line.key["provider"]] = counts.get(line.key["provider"], 0) + line.call_count
    return min(counts, key=lambda name: (-counts[name], name))
