"""Savings by service tiers: the cost of the same tokens at the standard price, less their actual cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.registry.pricing import at_length, cost_picousd, price_on
from llmroute.types import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.ledger.port import LedgerSnapshot, Span, TierSums
    from llmroute.registry import ModelRegistry


class Saving(NamedTuple):
    """The savings of calls in pico-USD; negative where they cost more.

    `is_partial` says that some are left out, whose cost or standard price is not known.
    """

    picousd: int = 0
    is_partial: bool = False


def savings_by_tier(reading: LedgerSnapshot, span: Span, registry: ModelRegistry) -> dict[str, Saving]:
    """Return the savings of each tier but the standard one, without unknown ones."""
    found: dict[str, list[TierSums]] = {}
    for sums in reading.sums_by_tier(span, price_lengths(registry)):
        found.setdefault(sums.tier, []).append(sums)
    savings = {tier: saving(own, registry) for tier, own in found.items()}
    return {tier: one for tier, one in savings.items() if one is not None}


def price_lengths(registry: ModelRegistry) -> list[int]:
    """Return the lengths of prompts from which on any model has other prices."""
    models = (registry.get_model_config(*name.split("/", 1)) for name in registry.list_models())
    prices = [price for model in models for price in model.prices]
    prices += [tier for price in prices for _, tier in price.service_tiers]
    return sorted({step.above for price in prices for step in price.tiers})


def saving(sums: Iterable[TierSums], registry: ModelRegistry) -> Saving | None:
    """Return the savings of the attempts of tiers at today's prices; None where nothing is known."""
    costly = [one for one in sums if one.cost_picousd or one.left_out_count]
    saved = [_saved_picousd(one, registry) for one in costly]
    known = [one for one in saved if one is not None]
    left_out = len(known) < len(saved) or any(one.left_out_count for one in costly)
    return None if saved and not known else Saving(sum(known), left_out)


def _saved_picousd(sums: TierSums, registry: ModelRegistry) -> int | None:
    """Return the cost of tokens at their standard price, minus their cost; None where one is unknown."""
    if not sums.cost_picousd:
        return None
    price = price_on(registry.get_model_config(sums.provider, sums.model), registry.today)
    if price is None or sums.tier not in dict(price.service_tiers):
        return None
    usage = Usage(
        sums.input_tokens,
        sums.cached_input_tokens,
        sums.cache_write_tokens,
        sums.output_tokens,
        cache_write_1h_tokens=sums.cache_write_1h_tokens,
    )
    standard = cost_picousd(usage, at_length(price, sums.longer_than + 1))
    return None if standard is None else standard - sums.cost_picousd
