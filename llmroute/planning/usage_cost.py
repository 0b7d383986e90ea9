"""The usage and cost of an attempt, as the ledger stores them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from llmroute.registry.pricing import cost_of_tools_picousd, cost_picousd, price_of_service
from llmroute.types import PICO_PER_USD, Price, PriceTier, Service

if TYPE_CHECKING:
    from llmroute.types import Usage

# A thousand USD: no call costs as much, and nine thousand such calls can still be summed up in 64 bits.
MOST_PICOUSD = 1_000 * PICO_PER_USD


@lru_cache(maxsize=64)
def price_as_json(price: Price | None) -> str | None:
    """Return the price as the ledger keeps it: pico-USD per token, without unknown prices and service tiers."""
    if price is None:
        return None
    stored = price._asdict() | {"tiers": [tier._asdict() for tier in price.tiers], "service_tiers": None}
    return json.dumps({key: value for key, value in stored.items() if value not in (None, [])})


def price_from_json(stored: str) -> Price:
    """Return a price as `price_as_json` has written it."""
    fields = json.loads(stored)
    return Price(
        **{
            "input": None,
            "output": None,
            **fields,
            "tiers": tuple(PriceTier(**{"input": None, "output": None, **tier}) for tier in fields.get("tiers", ())),
        }
    )


class UsageCost(NamedTuple):
    """The cost of a usage: pico-USD, None where the price or the usage is unknown; whether all of it has a known price.

    `price` is the one that was used, of the tier that served the answer.
    """

    cost_picousd: int | None
    exact: bool
    price: Price | None


def priced(usage: Usage, price: Price | None, service: Service = Service()) -> UsageCost:  # noqa: B008 (a tuple)
    """Price a usage."""
    if price is None:
        return UsageCost(None, exact=True, price=None)
    used, known = price_of_service(price, service)
    tokens = cost_picousd(usage, used)
    if tokens is None:
        return UsageCost(None, exact=True, price=used)
    tools, all_tools = cost_of_tools_picousd(used, service)
    kept_long = used.cache_write_1h is None and bool(usage.cache_write_1h_tokens)
    cost = tokens + tools
    exact = known and all_tools and not kept_long and cost <= MOST_PICOUSD
    return UsageCost(min(cost, MOST_PICOUSD), exact, used)


def usd(picousd: int | None) -> float | None:
    """Return pico-USD as USD."""
    return None if picousd is None else picousd / PICO_PER_USD


def storable(picousd: int | None) -> int | None:
    """Return an amount within the range of the ledger."""
    return None if picousd is None else min(picousd, MOST_PICOUSD)
