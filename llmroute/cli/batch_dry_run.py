"""`--batch FILE --dry-run`: what a batch would cost and who would answer it.  Sends nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns, money
from llmroute.cli.terminal import harmless
from llmroute.errors import LLMRouteError
from llmroute.service.costing import usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reading import Request
    from llmroute.service.api import LLMService


class _Share:
    """What one model would answer, in requests and pico-USD; None where a price is unknown."""

    def __init__(self) -> None:
        self.requests = 0
        self.expected: int | None = 0
        self.worst: int | None = 0

    def add(self, expected: int | None, worst: int | None) -> None:
        """Add a request."""
        self.requests += 1
        self.expected = None if None in (self.expected, expected) else (self.expected or 0) + (expected or 0)
        self.worst = None if None in (self.worst, worst) else (self.worst or 0) + (worst or 0)


def show_batch_plan(service: LLMService, requests: Iterator[Request], *, as_json: bool) -> None:
    """Print how many requests each model would get first, and what they would cost."""
    shares, unplanned = asyncio.run(_planned(service, requests))
    if as_json:
        write_json(_as_json(shares, unplanned))
        return
    rows = [
        [name, f"{share.requests:,}", money(usd(share.expected)), money(usd(share.worst))]
        for name, share in sorted(shares.items(), key=lambda pair: -pair[1].requests)
    ]
    write_text(harmless("nothing is sent\n\n" + columns(("model", "requests", "expected", "worst"), rows, (1, 2, 3))))
    if unplanned:
        reasons = [[reason, f"{count:,}"] for reason, count in unplanned.items()]
        write_text(harmless("\n" + columns(("out, because", "requests"), reasons, (1,))))


async def _planned(service: LLMService, requests: Iterator[Request]) -> tuple[dict[str, _Share], dict[str, int]]:
    shares: dict[str, _Share] = {}
    unplanned: dict[str, int] = {}
    bulk = service.bulk(jobs=1)
    for request in requests:
        try:
            if isinstance(request.asked, LLMRouteError):
                raise request.asked
            first = (await bulk.plan(request.asked)).entries[0]
        except LLMRouteError as error:
            unplanned[error.message] = unplanned.get(error.message, 0) + 1
        else:
            candidate = first.candidate
            share = shares.setdefault(first.model.name, _Share())
            share.add(candidate.expected_cost_picousd, candidate.worst_cost_picousd)
    return shares, unplanned


def _as_json(shares: dict[str, _Share], unplanned: dict[str, int]) -> dict[str, Any]:
    return {
        "models": [
            {
                "model": name,
                "requests": share.requests,
                "expected_cost_usd": usd(share.expected),
                "worst_cost_usd": usd(share.worst),
            }
            for name, share in shares.items()
        ],
        "excluded": [{"reason": reason, "requests": count} for reason, count in unplanned.items()],
    }
