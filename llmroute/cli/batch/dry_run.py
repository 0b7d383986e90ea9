"""`gen --batch FILE --dry-run`: forecast the models and the cost of a batch, or of its remainder, sending nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmroute.batch.job_tiers import check_line, route
from llmroute.bulk.shared_prompts import read_ahead
from llmroute.cli.flag_names import in_flags
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns
from llmroute.cli.output.terminal import harmless
from llmroute.errors import LLMRouteError
from llmroute.planning.usage_cost import usd
from llmroute.text.money import money
from llmroute.types import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from llmroute.batch.reader import Request
    from llmroute.batch.resume import PriorResults
    from llmroute.bulk.executor import BulkExecutor
    from llmroute.request.options import Options


@dataclass(slots=True)
class _Share:
    """Requests and their cost in pico-USD; a cost is None if a price is unknown.

    `ordinary` is the expected cost of ordinary calls of the same models.
    """

    requests: int = 0
    expected: int | None = 0
    worst: int | None = 0
    ordinary: int | None = 0

    def add(self, expected: int | None, worst: int | None, ordinary: int | None) -> None:
        self.requests += 1
        self.expected = None if self.expected is None or expected is None else self.expected + expected
        self.worst = None if self.worst is None or worst is None else self.worst + worst
        self.ordinary = None if self.ordinary is None or ordinary is None else self.ordinary + ordinary


@dataclass(slots=True)
class _Forecast:
    """The shares of all requests, and of each first choice by tier and model name; excluded requests by reason."""

    total: _Share = field(default_factory=_Share)
    shares: dict[tuple[str, str], _Share] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    answered_before: int = 0
    in_jobs: int = 0
    has_tiers: bool = False
    """Whether a request is for another tier than the standard one."""


def show_forecast(  # noqa: PLR0913 (by keyword)
    new_executor: Callable[[], BulkExecutor],
    requests: Iterator[Request],
    prior: PriorResults,
    *,
    budget_usd: float | None,
    in_jobs: Collection[int],
    of_jobs: bool,
    as_json: bool,
) -> None:
    """Print the number of requests per first model, and their cost, as an executor of the batch would plan them.

    Answered requests of `prior` are skipped, and those at the positions `in_jobs`, which are submitted already.

    Raises:
        RequestError: with `of_jobs`, a line cannot be in a batch that has batch jobs.
    """
    forecast = asyncio.run(_forecast(new_executor, requests, prior, in_jobs, of_jobs=of_jobs))
    left_usd = None if budget_usd is None else max(budget_usd - prior.cost_usd, 0.0)
    if as_json:
        _write_as_json(forecast, prior.cost_usd, left_usd)
        return
    write_text(harmless("nothing is sent\n\n" + _table(forecast)))
    if forecast.excluded:
        reasons = [[reason, f"{count:,}"] for reason, count in forecast.excluded.items()]
        write_text(harmless("\n" + columns(("cannot be sent", "requests"), reasons, (1,))))
    lines = [f"already answered: {forecast.answered_before:,}\n"] if forecast.answered_before else []
    if forecast.in_jobs:
        lines.append(f"in batch jobs: {forecast.in_jobs:,}\n")
    if left_usd is not None:
        lines.append(f"remaining budget: {money(left_usd)}, {_coverage(left_usd, forecast.total)}\n")
    if lines:
        write_text("\n" + "".join(lines))


def _table(forecast: _Forecast) -> str:
    shares = sorted(forecast.shares.items(), key=lambda pair: -pair[1].requests)
    if not forecast.has_tiers:
        rows = [[name, *_figures(share)] for (_, name), share in shares]
        return columns(("model", "requests", "expected cost", "worst case"), rows, (1, 2, 3))
    rows = [[tier, name, *_figures(share), money(usd(share.ordinary))] for (tier, name), share in shares]
    return columns(("tier", "model", "requests", "expected cost", "worst case", "ordinary cost"), rows, (2, 3, 4, 5))


def _figures(share: _Share) -> list[str]:
    return [f"{share.requests:,}", money(usd(share.expected)), money(usd(share.worst))]


def _coverage(left_usd: float, total: _Share) -> str:
    expected_usd, worst_usd = usd(total.expected), usd(total.worst)
    if worst_usd is not None and worst_usd <= left_usd:
        return "enough for the worst case"
    if expected_usd is None:
        return "which may not be enough: a price is unknown"
    if expected_usd <= left_usd:
        return "enough for the expected cost, not for the worst case"
    return f"enough for about {left_usd / expected_usd:.0%} of the expected cost"


async def _forecast(
    new_executor: Callable[[], BulkExecutor],
    requests: Iterator[Request],
    prior: PriorResults,
    in_jobs: Collection[int],
    *,
    of_jobs: bool,
) -> _Forecast:
    forecast, executor = _Forecast(has_tiers=of_jobs), new_executor()
    for index, request in enumerate(read_ahead(requests, lambda request: executor.expect(request.options))):
        if of_jobs and not isinstance(request.options, LLMRouteError):
            check_line(request.line, request.options)
        try:
            if isinstance(request.options, LLMRouteError):
                raise request.options
            result = prior.register(request.id)
            if result is not None and result.answered:
                forecast.answered_before += 1
                continue
            if index in in_jobs:
                forecast.in_jobs += 1
                continue
            await _add(forecast, executor, request.options)
        except LLMRouteError as error:
            forecast.excluded[in_flags(error.message)] += 1
    return forecast


async def _add(forecast: _Forecast, executor: BulkExecutor, options: Options) -> None:
    """Add a request to the share of its tier and model.

    Raises:
        LLMRouteError: the request cannot be sent.
    """
    tier = options.tier or "standard"
    if tier == AUTO:
        tier, options = await route(executor, options)
    first = (await executor.plan(options)).entries[0]
    candidate = first.candidate
    ordinary = candidate.expected_cost_picousd
    if tier != "standard":
        forecast.has_tiers = True
        plain = replace(options, tier=None, model=first.model.name, provider=None, chain=None, fallback=())
        ordinary = (await executor.plan(plain)).entries[0].candidate.expected_cost_picousd
    for share in (forecast.total, forecast.shares.setdefault((tier, first.model.name), _Share())):
        share.add(candidate.expected_cost_picousd, candidate.worst_cost_picousd, ordinary)


def _write_as_json(forecast: _Forecast, prior_cost_usd: float, left_usd: float | None) -> None:
    models = [
        {
            "model": name,
            "requests": share.requests,
            "expected_cost_usd": usd(share.expected),
            "worst_cost_usd": usd(share.worst),
        }
        | ({"tier": tier, "ordinary_cost_usd": usd(share.ordinary)} if forecast.has_tiers else {})
        for (tier, name), share in forecast.shares.items()
    ]
    write_json(
        {
            "models": models,
            "excluded": [{"reason": reason, "requests": count} for reason, count in forecast.excluded.items()],
            "answered_before": forecast.answered_before,
            "in_jobs": forecast.in_jobs,
            "cost_before_usd": prior_cost_usd,
            "budget_left_usd": left_usd,
        }
    )
