"""What an attempt has used and cost, as the ledger keeps it; estimated where nobody told."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from llmroute.registry.pricing import cost_picousd
from llmroute.routing.estimate import TYPICAL_OUTPUT_TOKENS, estimated_tokens
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from llmroute.types import Completion, Price


@lru_cache(maxsize=64)
def price_as_json(price: Price | None) -> str | None:
    """Return the price as the ledger keeps it: pico-USD per token, without what is unknown."""
    if price is None:
        return None
    told = price._asdict() | {"tiers": [tier._asdict() for tier in price.tiers]}
    return json.dumps({key: value for key, value in told.items() if value not in (None, [])})


def estimated_usage(expected_input_tokens: int, completion: Completion | None) -> Usage:
    """Return what a call has probably used when nobody told.

    `completion` is what came of it, None if nothing is known of that: an answer that was never seen is taken to have
    been written, since it may have to be paid for.
    """
    if completion is None:
        return Usage(input_tokens=expected_input_tokens, output_tokens=TYPICAL_OUTPUT_TOKENS, source="estimated")
    told = completion.usage
    written = estimated_tokens(completion.text + completion.thinking)
    return Usage(
        input_tokens=expected_input_tokens if told.input_tokens is None else told.input_tokens,
        cached_input_tokens=told.cached_input_tokens,
        cache_write_tokens=told.cache_write_tokens,
        output_tokens=max(written, told.output_tokens or 0),
        reasoning_tokens=told.reasoning_tokens,
        cache_write_1h_tokens=told.cache_write_1h_tokens,
        source="estimated",
    )


def cost_of(usage: Usage, price: Price | None) -> int | None:
    """Return pico-USD, None where the price or the usage is unknown."""
    return None if price is None else cost_picousd(usage, price)


def usd(picousd: int | None) -> float | None:
    """Return pico-USD as USD."""
    return None if picousd is None else picousd / PICO_PER_USD
