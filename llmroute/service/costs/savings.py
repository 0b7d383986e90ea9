"""Savings by service tiers and prompt caches: the cost of the same tokens without them, less their actual cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.planning.usage_cost import price_from_json
from llmroute.registry.pricing import cost_picousd, price_on, rates_for
from llmroute.types import Price, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.ledger.port import CachedUsage, Counts, Span
    from llmroute.ledger.reports import Line
    from llmroute.registry import ModelRegistry

STANDARD = "standard"


def savings_picousd(counts: Counts, span: Span, registry: ModelRegistry) -> dict[str, int]:
    """Return what each tier but the standard one has saved, in pico-USD; negative where it costs more.

    Models without a known price are left out.  Base prices of today are used, as price tiers depend on single prompts.
    """
    from llmroute.ledger.reports import PRUNED, lines_of

    saved: dict[str, int] = {}
    for line in lines_of(counts, ("tier", "provider", "model"), span):
        tier = line.key["tier"]
        if tier not in (STANDARD, PRUNED) and (picousd := saved_picousd(line, tier, registry)) is not None:
            saved[tier] = saved.get(tier, 0) + picousd
    return saved


def cache_savings_picousd(usages: Iterable[CachedUsage]) -> int:
    """Return what prompt caches have saved in pico-USD: the same tokens at the price of input, less what they cost.

    It is negative where writes cost more than reads have saved.
    """
    from llmroute.ledger.port import CACHED_STEP

    saved = 0
    for usage in usages:
        shortest = usage.step * CACHED_STEP + 1
        rates = rates_for(price_from_json(usage.price), shortest)
        flat = Price(rates.input, rates.output, rates.cache_read, rates.cache_write, rates.cache_write_1h)
        prompt = usage.read + usage.written
        paid = cost_picousd(Usage(prompt, usage.read, usage.written, 0, cache_write_1h_tokens=usage.written_1h), flat)
        if paid is not None and rates.input is not None:
            saved += prompt * rates.input - paid
    return saved


def saved_picousd(line: Line, tier: str, registry: ModelRegistry) -> int | None:
    """Return the cost of a model's tokens at its standard price, minus what they cost; None where one is unknown."""
    if line.cost_picousd == 0 or line.unknown_cost_count:
        return None
    price = price_on(registry.get_model_config(line.key["provider"], line.key["model"]), registry.today)
    if price is None or tier not in dict(price.service_tiers):
        return None
    usage = Usage(line.input_tokens, line.cached_input_tokens, None, line.output_tokens)
    standard = cost_picousd(usage, price._replace(tiers=()))
    return None if standard is None else standard - line.cost_picousd
