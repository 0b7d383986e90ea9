"""What an attempt has used and cost, as the ledger keeps it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from llmroute.registry.pricing import cost_picousd
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.types import Price, Usage

# A thousand USD: no call costs as much, and nine thousand such calls can still be summed up in 64 bits.
MOST_PICOUSD = 1_000 * PICO_PER_USD


@lru_cache(maxsize=64)
def price_as_json(price: Price | None) -> str | None:
    """Return the price as the ledger keeps it: pico-USD per token, without what is unknown."""
    if price is None:
        return None
    told = price._asdict() | {"tiers": [tier._asdict() for tier in price.tiers]}
    return json.dumps({key: value for key, value in told.items() if value not in (None, [])})


def priced(usage: Usage, price: Price | None) -> tuple[int | None, bool]:
    """Return pico-USD, None where the price or the usage is unknown; and whether all that was used has a price."""
    if price is None:
        return None, True
    cost = cost_picousd(usage, price)
    return (None if cost is None else min(cost, MOST_PICOUSD)), cost is None or cost <= MOST_PICOUSD


def usd(picousd: int | None) -> float | None:
    """Return pico-USD as USD."""
    return None if picousd is None else picousd / PICO_PER_USD
