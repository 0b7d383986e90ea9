"""Compare the ledger with providers' own cost reports, by UTC day and model."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from llmroute.errors import AttemptError, RequestError, VendorReportError
from llmroute.ledger.buckets import BUCKETS_PER_DAY, DAY_MS
from llmroute.ledger.periods import milliseconds
from llmroute.ledger.port import AttemptFilter, Span
from llmroute.ledger.reports import COUNTERS
from llmroute.providers import PROVIDERS
from llmroute.providers.usage_reports.report import REPORTING
from llmroute.service.costs.compared_costs import ComparedDay, ComparedVendor, Explanation, ModelDay, Reconciliation
from llmroute.service.costs.explain import MEANINGS, ZERO, Billed, Booked, Kind, Rates, explain
from llmroute.service.costs.report import CostQuery, reported_span
from llmroute.service.costs.vendor_reports import fetch, readable
from llmroute.service.ledger_opening import now_of, snapshot
from llmroute.text.redaction import shortened
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.errors import LLMRouteError
    from llmroute.ledger.port import LedgerSnapshot
    from llmroute.registry import ModelRegistry
    from llmroute.service.core import ServiceCore
    from llmroute.service.costs.vendor_reports import VendorBill

NO_MODEL: Final = "(no model)"
# A provider that rounds does so to cents at most.
_MOST_ROUNDING_USD: Final = Decimal("0.005")
_EPOCH: Final = date(1970, 1, 1)
_DATED: Final = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")
_NAMED: Final = 3
_LONGEST_NAME: Final = 100

BookedByDay = dict[tuple[str, date, str], Booked]
"""The figures of the ledger by provider, UTC day and model."""


def reconcile(core: ServiceCore, period: str | None = None, *, now: datetime | None = None) -> Reconciliation:
    """Compare the current calendar period of UTC with the reports of the providers that have an admin key.

    Raises:
        RequestError: the period is not valid.
        AuthenticationError: there is no admin key.
        VendorReportError, AttemptError: no provider's report can be read: the error of the first.
        LedgerError: the ledger cannot be read.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    query = CostQuery(period)
    # A period that is not valid is reported whether or not the ledger can be read.
    reported_span(query, now)
    names = readable(core.config)
    with snapshot(core.config, now) as reading:
        now = now_of(reading, now)
        period, since, until = reported_span(query, now)
        today = now.date()
        end = min(today, (until - timedelta(milliseconds=1)).date()) + timedelta(days=1)
        span = Span(None if since is None else milliseconds(since), (end - _EPOCH).days * DAY_MS)
        by_day = {} if reading is None else _booked_by_day(reading, span, core.registry)
    if since is None:
        first = min((day for name, day, _ in by_day if name in names), default=today)
        since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    if since.date() >= end:
        raise RequestError(f"the period {period} has no day yet")
    bills, failed = _fetched(core, names, since.date(), end)
    vendors = [compare(name, by_day, bill, core.registry) for name, bill in bills.items()]
    without_report = tuple(name for name, row in PROVIDERS.items() if row.needs_key and name not in REPORTING)
    without_key = tuple(name for name in REPORTING if name not in names)
    return Reconciliation(period, since, until, today, tuple(vendors), failed, without_key, without_report)


def _fetched(
    core: ServiceCore, names: tuple[str, ...], since: date, until: date
) -> tuple[dict[str, VendorBill], dict[str, LLMRouteError]]:
    """Return the bills by provider, and the errors of those whose bill cannot be read, if not of all."""
    bills: dict[str, VendorBill] = {}
    failed: dict[str, LLMRouteError] = {}
    for name in names:
        try:
            bills[name] = fetch(core, name, since, until)
        except (AttemptError, VendorReportError) as error:
            failed[name] = error
    if not bills:
        raise failed[names[0]]
    return bills, failed


def _booked_by_day(reading: LedgerSnapshot, span: Span, registry: ModelRegistry) -> BookedByDay:
    """Sum the ledger; only days with uncertain costs are read by attempt."""
    by_day: BookedByDay = {}
    for (quarter, provider, model), counters in reading.counted(("quarter", "provider", "model"), span):
        if provider in REPORTING:
            counted = dict(zip(COUNTERS, counters, strict=True))
            _add(
                by_day,
                (provider, _EPOCH + timedelta(days=quarter // BUCKETS_PER_DAY), known_name(registry, provider, model)),
                Booked(
                    _usd(counted["cost_picousd"]),
                    counted["input_tokens"],
                    counted["output_tokens"],
                    open_count=counted["unknown_cost_count"],
                ),
            )
    for day in {day for _, day, _ in by_day}:
        since_ms = (day - _EPOCH).days * DAY_MS
        doubts = reading.uncertain_costs(Span(since_ms, since_ms + DAY_MS))
        if doubts.at_most.call_count or doubts.estimated.call_count or doubts.at_least.call_count:
            _add_uncertain(by_day, reading, day, registry)
    return by_day


def _add_uncertain(by_day: BookedByDay, reading: LedgerSnapshot, day: date, registry: ModelRegistry) -> None:
    since_ms = (day - _EPOCH).days * DAY_MS
    for row in reading.attempts(AttemptFilter(since_ms, since_ms + DAY_MS)):
        if row["status"] == "pending" or row["provider"] not in REPORTING:
            continue
        usd, most = _usd(row["cost_picousd"] or 0), _usd(row["reserved_picousd"] or 0)
        match row["cost_basis"]:
            case "at_most":
                part = Booked(at_most_usd=usd)
            case "estimated":
                part = Booked(estimated_usd=usd, more_usd=max(most - usd, ZERO))
            case "at_least":
                part = Booked(open_count=1)
            case _:
                continue
        _add(by_day, (row["provider"], day, known_name(registry, row["provider"], row["model"])), part)


def _add(by_day: BookedByDay, key: tuple[str, date, str], part: Booked) -> None:
    by_day[key] = by_day.get(key, Booked()).plus(part)


def _usd(picousd: int) -> Decimal:
    return Decimal(picousd) / PICO_PER_USD


def known_name(registry: ModelRegistry, provider: str, name: str) -> str:
    """Return the catalogue's id of a model that a ledger or a report may call by a dated name."""
    for form in (name, _DATED.sub("", name)):
        model = registry.get_model_config(provider, form)
        if form and model.known:
            return model.id
    return name


def compare(provider: str, by_day: BookedByDay, bill: VendorBill, registry: ModelRegistry) -> ComparedVendor:
    """Set a provider's bill beside the ledger."""
    billed: dict[tuple[date, str], Billed] = {}

    def add(day: date, model: str, part: Billed) -> None:
        key = (day, known_name(registry, provider, model) if model else NO_MODEL)
        billed[key] = billed.get(key, Billed()).plus(part)

    for cost in bill.costs:
        add(cost.day, cost.model, Billed(cost.usd, rounding_usd=min(cost.precision_usd / 2, _MOST_ROUNDING_USD)))
    for used in bill.usage:
        add(used.day, used.model, Billed(ZERO, used.input_tokens, used.output_tokens))
    booked = {(day, model): part for (name, day, model), part in by_day.items() if name == provider}
    days: list[ComparedDay] = []
    causes: dict[Kind, list[tuple[date, str, Decimal]]] = {}
    for day in sorted({day for day, _ in (*booked, *billed)}):
        rows = [
            ModelDay(model, booked.get((day, model), Booked()), billed.get((day, model), Billed()))
            for model in sorted({model for at, model in (*booked, *billed) if at == day})
        ]
        rounding = ZERO
        for row in rows:
            for kind, usd in explain(row.booked, row.billed, _rates(registry, provider, row.model, day)):
                causes.setdefault(kind, []).append((day, row.model, usd))
                rounding += usd if kind == "rounding" else ZERO
        days.append(ComparedDay(day, tuple(rows), rounding))
    explained = [
        Explanation(kind, sum((usd for *_, usd in found), ZERO), f"{MEANINGS[kind]}: {_places(found)}")
        for kind, found in causes.items()
    ]
    return ComparedVendor(provider, tuple(days), tuple(sorted(explained, key=lambda one: -abs(one.usd))))


def _rates(registry: ModelRegistry, provider: str, model: str, day: date) -> Rates | None:
    from math import inf

    from llmroute.registry.pricing import rates_on

    read, written = rates_on(registry.get_model_config(provider, model), day)
    if inf in (read, written):
        return None
    return Rates(Decimal(read) / PICO_PER_USD, Decimal(written) / PICO_PER_USD)


def _places(found: list[tuple[date, str, Decimal]]) -> str:
    """Name the models and days with the largest parts."""
    largest = sorted(found, key=lambda one: -abs(one[2]))
    named = [f"{shortened(model, _LONGEST_NAME)} on {day}" for day, model, _ in largest[:_NAMED]]
    more = len(largest) - _NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
