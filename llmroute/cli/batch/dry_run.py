"""`gen --batch FILE --dry-run`: forecast the models and the cost of a batch, or of its remainder, sending nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmroute.cli.option_names import in_flags
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns, money
from llmroute.cli.output.terminal import harmless
from llmroute.errors import LLMRouteError
from llmroute.planning.usage_cost import usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reader import Request
    from llmroute.batch.resume import PriorResults
    from llmroute.service.client import LLMService


@dataclass(slots=True)
class _Share:
    """Requests and their cost in pico-USD; a cost is None once a price is unknown."""

    requests: int = 0
    expected: int | None = 0
    worst: int | None = 0

    def add(self, expected: int | None, worst: int | None) -> None:
        self.requests += 1
        self.expected = None if self.expected is None or expected is None else self.expected + expected
        self.worst = None if self.worst is None or worst is None else self.worst + worst


@dataclass(slots=True)
class _Forecast:
    """The shares of all requests and of each first choice by model name; excluded requests by reason."""

    total: _Share = field(default_factory=_Share)
    shares: dict[str, _Share] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    answered_before: int = 0


def show_forecast(
    service: LLMService, requests: Iterator[Request], prior: PriorResults, *, budget_usd: float | None, as_json: bool
) -> None:
    """Print how many requests each model would get first, and their cost; answered requests of `prior` are skipped."""
    forecast = asyncio.run(_forecast(service, requests, prior))
    left_usd = None if budget_usd is None else max(budget_usd - prior.cost_usd, 0.0)
    if as_json:
        _write_as_json(forecast, prior.cost_usd, left_usd)
        return
    rows = [
        [name, f"{share.requests:,}", money(usd(share.expected)), money(usd(share.worst))]
        for name, share in sorted(forecast.shares.items(), key=lambda pair: -pair[1].requests)
    ]
    header = ("model", "requests", "expected cost", "worst case")
    write_text(harmless("nothing is sent\n\n" + columns(header, rows, (1, 2, 3))))
    if forecast.excluded:
        reasons = [[reason, f"{count:,}"] for reason, count in forecast.excluded.items()]
        write_text(harmless("\n" + columns(("cannot be sent", "requests"), reasons, (1,))))
    lines = [f"already answered: {forecast.answered_before:,}\n"] if forecast.answered_before else []
    if left_usd is not None:
        lines.append(f"remaining budget: {money(left_usd)}, {_coverage(left_usd, forecast.total)}\n")
    if lines:
        write_text("\n" + "".join(lines))


def _coverage(left_usd: float, total: _Share) -> str:
    expected_usd, worst_usd = usd(total.expected), usd(total.worst)
    if worst_usd is not None and worst_usd <= left_usd:
        return "enough for the worst case"
    if expected_usd is None:
        return "which may not be enough: a price is unknown"
    if expected_usd <= left_usd:
        return "enough for the expected cost, not for the worst case"
    return f"enough for about {left_usd / expected_usd:.0%} of the expected cost"


async def _forecast(service: LLMService, requests: Iterator[Request], prior: PriorResults) -> _Forecast:
    forecast = _Forecast()
    executor = service.bulk(jobs=1)
    for request in requests:
        try:
            if isinstance(request.options, LLMRouteError):
                raise request.options
            result = prior.register(request.id)
            if result is not None and result.answered:
                forecast.answered_before += 1
                continue
            first = (await executor.plan(request.options)).entries[0]
        except LLMRouteError as error:
            forecast.excluded[in_flags(error.message)] += 1
        else:
            candidate = first.candidate
            for share in (forecast.total, forecast.shares.setdefault(first.model.name, _Share())):
                share.add(candidate.expected_cost_picousd, candidate.worst_cost_picousd)
    return forecast


def _write_as_json(forecast: _Forecast, prior_cost_usd: float, left_usd: float | None) -> None:
    models = [
        {
            "model": name,
            "requests": share.requests,
            "expected_cost_usd": usd(share.expected),
            "worst_cost_usd": usd(share.worst),
        }
        for name, share in forecast.shares.items()
    ]
    write_json(
        {
            "models": models,
            "excluded": [{"reason": reason, "requests": count} for reason, count in forecast.excluded.items()],
            "answered_before": forecast.answered_before,
            "cost_before_usd": prior_cost_usd,
            "budget_left_usd": left_usd,
        }
    )
