"""`--batch FILE --dry-run`: what a batch, or the rest of one, would cost and who would answer it.  Sends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    """What one model would answer, in requests and pico-USD; None where a price is unknown."""

    requests: int = 0
    expected: int | None = 0
    worst: int | None = 0

    def add(self, requests: int, expected: int | None, worst: int | None) -> None:
        """Add requests."""
        self.requests += requests
        self.expected = None if self.expected is None or expected is None else self.expected + expected
        self.worst = None if self.worst is None or worst is None else self.worst + worst


@dataclass(slots=True)
class _Forecast:
    """A share for each model, why requests are left out and how many, and how many are answered already."""

    shares: dict[str, _Share] = field(default_factory=dict)
    unplanned: dict[str, int] = field(default_factory=dict)
    answered_before: int = 0

    def in_all(self) -> _Share:
        """Return what all models together would answer."""
        every = _Share()
        for share in self.shares.values():
            every.add(share.requests, share.expected, share.worst)
        return every


def show_batch_plan(
    service: LLMService, requests: Iterator[Request], known: PriorResults, *, budget_usd: float | None, as_json: bool
) -> None:
    """Print how many requests each model would get first, and what they would cost; `known` is what is there."""
    forecast = asyncio.run(_planned(service, requests, known))
    left_usd = None if budget_usd is None else max(budget_usd - known.cost_usd, 0.0)
    if as_json:
        write_json({**_as_json(forecast), "cost_before_usd": known.cost_usd, "budget_left_usd": left_usd})
        return
    rows = [
        [name, f"{share.requests:,}", money(usd(share.expected)), money(usd(share.worst))]
        for name, share in sorted(forecast.shares.items(), key=lambda pair: -pair[1].requests)
    ]
    write_text(harmless("nothing is sent\n\n" + columns(("model", "requests", "expected", "worst"), rows, (1, 2, 3))))
    if forecast.unplanned:
        reasons = [[reason, f"{count:,}"] for reason, count in forecast.unplanned.items()]
        write_text(harmless("\n" + columns(("out, because", "requests"), reasons, (1,))))
    told = [f"answered before: {forecast.answered_before:,}"] if forecast.answered_before else []
    if left_usd is not None:
        told.append(f"of the budget {money(left_usd)} is left: {_enough(left_usd, forecast.in_all())}")
    if told:
        write_text("\n" + "".join(f"{line}\n" for line in told))


def _enough(left_usd: float, every: _Share) -> str:
    expected_usd, worst_usd = usd(every.expected), usd(every.worst)
    if worst_usd is not None and worst_usd <= left_usd:
        return "enough for all, whatever they cost"
    if expected_usd is None:
        return "nobody knows whether it is enough, for a price is unknown"
    if expected_usd <= left_usd:
        return "enough if they cost what is expected"
    return f"enough for about {left_usd / expected_usd:.0%} of what is expected"


async def _planned(service: LLMService, requests: Iterator[Request], known: PriorResults) -> _Forecast:
    forecast = _Forecast()
    bulk = service.bulk(jobs=1)
    for request in requests:
        try:
            if isinstance(request.asked, LLMRouteError):
                raise request.asked
            left = known.meet(request.id)
            if left is not None and left.answered:
                forecast.answered_before += 1
                continue
            first = (await bulk.plan(request.asked)).entries[0]
        except LLMRouteError as error:
            reason = in_flags(error.message)
            forecast.unplanned[reason] = forecast.unplanned.get(reason, 0) + 1
        else:
            candidate = first.candidate
            share = forecast.shares.setdefault(first.model.name, _Share())
            share.add(1, candidate.expected_cost_picousd, candidate.worst_cost_picousd)
    return forecast


def _as_json(forecast: _Forecast) -> dict[str, Any]:
    return {
        "models": [
            {
                "model": name,
                "requests": share.requests,
                "expected_cost_usd": usd(share.expected),
                "worst_cost_usd": usd(share.worst),
            }
            for name, share in forecast.shares.items()
        ],
        "excluded": [{"reason": reason, "requests": count} for reason, count in forecast.unplanned.items()],
        "answered_before": forecast.answered_before,
    }
