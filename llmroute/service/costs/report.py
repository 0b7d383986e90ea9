"""Cost reports of a calendar period or a span."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llmroute.errors import RequestError
from llmroute.ledger.buckets import NO_END_MS
from llmroute.ledger.periods import (
    CLOSED_PERIODS,
    PERIODS,
    clock_of,
    milliseconds,
    moment,
    span_of,
)
from llmroute.request.fields import require_one_of
from llmroute.service.ledger_opening import ledger_to_read, now_of, snapshot
from llmroute.types import PICO_PER_USD
from llmroute.types.labels import text_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.config import Config
    from llmroute.ledger.port import LedgerSnapshot, Span, UncertainCosts
    from llmroute.ledger.reports import Line
    from llmroute.service.costs.savings import Saving

__all__ = ["REPORTED_PERIODS", "CostQuery", "CostReport", "bill"]

ReportedSpan: TypeAlias = "tuple[str | None, datetime | None, datetime]"

REPORTED_PERIODS = (*PERIODS, *CLOSED_PERIODS)
DEFAULT_PERIOD = "month"


@dataclass(frozen=True, slots=True)
class CostQuery:
    """The query of a cost report.

    `since` and `until` are spans back from now (`24h`, `7d`, `2w`) or local dates and times, in place of a period.  A
    workspace of None is all of them.
    """

    period: str | None = None
    since: str | None = None
    until: str | None = None
    by: str | None = None
    workspace: str | None = None

    def __post_init__(self) -> None:
        """Refuse a workspace that no call can have.

        Raises:
            RequestError: it is not valid text.
        """
        require_text("workspace", self.workspace)


def require_text(option: str, wanted: str | None) -> None:
    """Refuse a name that nothing in a ledger can have.

    Raises:
        RequestError: it is not valid text.
    """
    if (problem := text_problem(wanted or "")) is not None:
        from llmroute.text.option_text import OptionText, Remedy

        raise RequestError(OptionText(Remedy(option), f" {problem}"), option=option)


@dataclass(frozen=True, slots=True)
class CostReport:
    """The costs of a span: the total, a line for each model, highest cost first, and a line for each group."""

    period: str | None
    since: datetime | None
    until: datetime
    workspace: str | None
    total: Line
    by_model: list[Line]
    by: str | None
    groups: list[Line]
    unsure: UncertainCosts
    savings: dict[str, Saving] = field(default_factory=dict)
    """By tier, where the groups are tiers."""
    lacks_savings: bool = False
    """Whether an older ledger cannot be written now, so that its sums lack what prompt caches saved."""
    pruned_count: int = 0
    """The attempts of which only sums are known: they are not in `unsure` nor in `savings`."""

    @property
    def cache_saved_usd(self) -> float:
        """The savings by prompt caches; negative where they cost more."""
        return self.total.cache_saved_picousd / PICO_PER_USD

    @property
    def cache_saving_is_partial(self) -> bool:
        """Whether calls of unknown cost may have used caches, or sums lack savings."""
        return any(
            line.cached_input_tokens and (line.unknown_cost_count or self.lacks_savings) for line in self.by_model
        )


class OpenReport(NamedTuple):
    """A cost report, and the snapshot that it is of (None is a ledger without attempts) at its own time `now`."""

    report: CostReport
    reading: LedgerSnapshot | None
    ends: ReportedSpan
    now: datetime


def bill(config: Config, question: CostQuery, *, now: datetime | None = None) -> CostReport:
    """Return the costs of a calendar period or of a span, in the user's time zone.

    Raises:
        RequestError: the period or the span is not valid.
        LedgerError: the ledger cannot be read.
    """
    with open_report(config, question, now or datetime.now().astimezone()) as opened:
        return opened.report


@contextmanager
def open_report(config: Config, question: CostQuery, now: datetime) -> Iterator[OpenReport]:
    """As `bill`, with the snapshot open for further queries."""
    # A question that is not valid is reported whether or not the ledger can be read.
    reported_span(question, now)
    with snapshot(config, now) as reading:
        now = now_of(reading, now)
        ends = reported_span(question, now)
        report = report_of(reading, question, ends, now)
        yield OpenReport(report if reading is None else _with_savings(config, reading, report), reading, ends, now)


def report_of(reading: LedgerSnapshot | None, question: CostQuery, ends: ReportedSpan, now: datetime) -> CostReport:
    """Return the report of a snapshot; None is a ledger without attempts."""
    from llmroute.ledger.port import UncertainCosts
    from llmroute.ledger.reports import by_model, grouped, total

    period, since, until = ends
    lines: list[Line] = []
    groups: list[Line] = []
    uncertain = UncertainCosts()
    lacks_savings = False
    pruned_count = 0
    if reading is not None:
        span = counted_span(ends, question.workspace)
        lines = by_model(reading, span.since_ms, span.until_ms, question.workspace)
        uncertain = reading.uncertain_costs(span)
        lacks_savings = reading.unfilled_until_ms() > (span.since_ms or 0)
        pruned_count = _pruned_count(reading, span)
        if question.by is not None:
            groups = grouped(reading, question.by, span, clock_of(now))
    return CostReport(
        period,
        since,
        until,
        question.workspace,
        total(lines),
        lines,
        question.by,
        groups,
        uncertain,
        lacks_savings=lacks_savings,
        pruned_count=pruned_count,
    )


def _pruned_count(reading: LedgerSnapshot, span: Span) -> int:
    from llmroute.ledger.port import AttemptFilter
    from llmroute.service.costs.exports.pruned import pruned_sum

    return pruned_sum(reading, AttemptFilter(span.since_ms, span.until_ms, workspace=span.workspace)).call_count


def counted_span(ends: ReportedSpan, workspace: str | None) -> Span:
    """Return the span of a report in milliseconds; `all` includes attempts that started while the clock was ahead."""
    from llmroute.ledger.port import Span

    period, since, until = ends
    until_ms = NO_END_MS if period == "all" else milliseconds(until)
    return Span(None if since is None else milliseconds(since), until_ms, workspace)


def _with_savings(config: Config, reading: LedgerSnapshot, report: CostReport) -> CostReport:
    """Return a report by tier with what each tier has saved, any other as it is."""
    if report.by != "tier":
        return report
    from llmroute.planning.default_registry import registry_of
    from llmroute.service.costs.savings import savings_by_tier

    span = counted_span((report.period, report.since, report.until), report.workspace)
    registry = registry_of(config.config_dir, config.models)
    return replace(report, savings=savings_by_tier(reading, span, registry))


def reported_span(question: CostQuery, now: datetime) -> ReportedSpan:
    """Return the period of a query, None where it has a span of its own, and the ends of what it asks for.

    Raises:
        RequestError: the period or the span is not valid.
    """
    if question.since is None and question.until is None:
        period = DEFAULT_PERIOD if question.period is None else question.period
        require_one_of("period", period, REPORTED_PERIODS)
        return period, *span_of(period, now)
    if question.period is not None:
        from llmroute.text.option_text import OptionText, Remedy

        hint = OptionText("either ", Remedy("period"), ", or ", Remedy("since"), " and ", Remedy("until"))
        raise RequestError("a period and a span were given", hint=hint)
    since = None if question.since is None else moment("since", question.since, now)
    until = now if question.until is None else moment("until", question.until, now)
    if since is not None and milliseconds(since) >= milliseconds(until):
        raise RequestError(f"the span ends before it begins: {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}")
    return None, since, until


def known_workspaces(config: Config) -> list[str]:
    """Return the names of all workspaces in the ledger.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not config.ledger.exists():
        return []
    with closing(ledger_to_read(config)) as ledger, ledger.snapshot() as reading:
        return reading.workspaces()
