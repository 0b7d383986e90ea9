"""The cost report as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.output.charts import budget_chart, cost, day_chart, percent, sum_of
from llmroute.cli.output.tables import cell, columns, fitted
from llmroute.cli.output.terminal import DEFAULT_WIDTH
from llmroute.ledger.periods import CLOSED_PERIODS
from llmroute.text.money import money
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rich.console import RenderableType

    from llmroute.ledger.reports import Line
    from llmroute.service.costs.comparison import ChartData, Comparison, PreviousPeriod, WhatIf
    from llmroute.service.costs.report import CostReport
    from llmroute.service.costs.savings import Saving

NONE = "(none)"
"""Stands for an empty name."""
_TOO_MUCH_PERCENT = 1_000


def report_parts(
    report: CostReport, comparison: Comparison, charts: ChartData | None, width: int | None
) -> list[RenderableType]:
    """Return the report as text, to be rendered at `width`; charts are included only if given."""
    from rich.constrain import Constrain
    from rich.text import Text

    columns_ = width or DEFAULT_WIDTH
    parts: list[RenderableType] = [Text(cost_sentence(report), "bold")]
    parts += map(Text, detail_lines(report, comparison.before))
    if charts and charts.budgets:
        parts += [Text(), Text("budgets", "bold"), budget_chart(charts.budgets, columns_)]
    if charts and len(charts.days) > 1 and report.total.call_count:
        parts += [Text(), Text("per day", "bold"), day_chart(charts.days, columns_)]
    if report.total.call_count:
        head, *rows = _text_table(report, width).splitlines()
        parts += [Text(), Text(head, "bold"), *(Text(row, overflow="ignore", no_wrap=True) for row in rows)]
    parts += map(Text, saving_lines(report))
    if comparison.what_if is not None:
        parts += [Text(), Constrain(Text(what_if_text(report, comparison.what_if), "dim"), columns_)]
    return parts


def cost_sentence(report: CostReport, named: Callable[[str], str] = cell) -> str:
    """Return the total, its span and its calls in one sentence."""
    total = report.total
    unknown = f", {total.unknown_cost_count:,} of them at an unknown cost" if total.unknown_cost_count else ""
    rejected = f", {total.rejected_count:,} rejected" if total.rejected_count else ""
    whose = "" if report.workspace is None else f" in workspace {named(report.workspace) or NONE}"
    calls = f"{total.call_count:,} {'call' if total.call_count == 1 else 'calls'}"
    return (
        f"{money(total.known_cost_usd)}{whose} {_span(report)}:"
        f" {calls} ({total.failed_count:,} failed{rejected}){unknown}"
    )


def _span(report: CostReport) -> str:
    until = f" until {_time(report.until)}" if report.period is None or report.period in CLOSED_PERIODS else ""
    if report.since is None:
        return until.strip() or "in all"
    return f"since {_time(report.since)}{until}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}" if (moment.hour, moment.minute) == (0, 0) else f"{moment:%Y-%m-%d %H:%M}"


def detail_lines(report: CostReport, before: PreviousPeriod | None) -> list[str]:
    """Return the change, the tokens, the inexact part and the cost of retries and fallbacks, each in a line."""
    total = report.total
    lines = [_change(total, before)] if before and (total.call_count or before.total.call_count) else []
    if not total.call_count:
        return lines
    share = percent(total.cached_share or 0)
    cached = f" ({total.cached_input_tokens:,} cached, {share})" if total.cached_input_tokens else ""
    lines.append(f"{total.total_tokens:,} tokens: {total.input_tokens:,} in{cached}, {total.output_tokens:,} out")
    if saved := report.cache_saved_usd:
        amount = sum_of(abs(saved), is_partial=report.cache_saving_is_partial)
        lines.append(f"prompt caches {'saved' if saved > 0 else 'cost'} {amount}")
    lines += _doubts(report)
    if report.pruned_count:
        lines.append(_pruned(report.pruned_count))
    if total.fallback_cost_picousd:
        amount = sum_of(total.fallback_cost_usd, is_partial=bool(total.unknown_cost_count))
        lines.append(f"retries and fallbacks cost {amount} of it")
    return lines


def _doubts(report: CostReport) -> list[str]:
    """Describe the uncertain parts of the costs."""
    ways = {
        "estimated": "~{cost} of it is estimated, for {calls} of unknown usage or price: at most {most}",
        "at_most": "at most {cost} of it is counted for {calls} with no known end under a budget",
        "at_least": "at least {cost} of it was used by {calls} of which a part has no known price",
    }
    return [
        ways[basis].format(
            cost=money(part.cost_picousd / PICO_PER_USD),
            most=money(part.most_picousd / PICO_PER_USD),
            calls=f"{part.call_count:,} {'call' if part.call_count == 1 else 'calls'}",
        )
        for basis, part in report.unsure.parts()
        if part.call_count and (part.most_picousd or part.cost_picousd)
    ]


def _pruned(count: int) -> str:
    """State that it is unknown whether the costs of pruned calls are exact."""
    calls, their = ("call is", "its cost is") if count == 1 else ("calls are", "their costs are")
    return f"{count:,} {calls} pruned: whether {their} exact is not known"


def _change(total: Line, before: PreviousPeriod) -> str:
    span = f"in the same span before ({_time(before.since)} to {_time(before.until)})"
    past, now = before.total.known_cost_usd, total.known_cost_usd
    if not before.total.call_count:
        return f"no call {span}"
    if past is None or now is None:
        return f"{'cost unknown' if past is None else money(past)} {span}"
    unsure = ", as far as costs are known" if total.unknown_cost_count or before.total.unknown_cost_count else ""
    if not past:
        return f"{money(past)} {span}{unsure}"
    change = round((now - past) / past * 100)
    by = f"{change:+,}%" if change < _TOO_MUCH_PERCENT else f"{now / past:,.0f} times"
    return f"{by} against {money(past)} {span}{unsure}"


def what_if_text(report: CostReport, other: WhatIf) -> str:
    """Return the comparison with another model in a sentence."""
    whose = "which you call most" if other.most_used else "your default provider"
    text = (
        f"what if: the same tokens on {other.provider}/{other.model}, the best model of {other.provider} ({whose}),"
        f" would have cost {money(other.cost_usd)} at today's list price"
    )
    if report.total.unknown_cost_count:
        return text + "; part of what they did cost is unknown"
    saved = other.cost_usd - report.total.cost_usd
    if not saved:
        return text + ", as much as they did"
    share = f" ({percent(saved / other.cost_usd)} saved)" if saved > 0 else ""
    return f"{text}, {money(abs(saved))} {'more' if saved > 0 else 'less'} than they did{share}"


def saving_lines(report: CostReport) -> list[str]:
    """Return the savings of each tier, where the groups are tiers."""
    return [_saved(tier, saving) for tier, saving in report.savings.items()]


def _saved(tier: str, saving: Saving) -> str:
    word = "less" if saving.picousd >= 0 else "more"
    amount = sum_of(abs(saving.picousd) / PICO_PER_USD, is_partial=saving.is_partial)
    return f"{cell(tier)}: {amount} {word} than at the standard price"


def _text_table(report: CostReport, width: int | None) -> str:
    by = report.by or "model"
    counts = {"calls": "call_count", "failed": "failed_count", "in": "input_tokens", "out": "output_tokens"}
    if report.total.rejected_count:
        counts = {"calls": "call_count", "failed": "failed_count", "rejected": "rejected_count", **counts}
    head = (by, "cost", *counts)
    rows = [
        [
            cell("/".join(line.key.values())) or NONE,
            cost(line),
            *(f"{getattr(line, name):,}" for name in counts.values()),
        ]
        for line in (report.by_model if report.by is None else report.groups)
    ]
    numbers = range(1, len(head))
    return columns(head, rows, numbers=numbers) if width is None else fitted(head, rows, 0, width, numbers)
