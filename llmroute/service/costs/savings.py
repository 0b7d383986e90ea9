"""Savings by service tiers: the cost of the same tokens at the standard price, less their actual cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.registry.pricing import cost_picousd, price_on
from llmroute.types import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.ledger.port import Counts, Span
    from llmroute.ledger.reports import Line
    from llmroute.registry import ModelRegistry

STANDARD = "standard"


class Saving(NamedTuple):
    """The savings of calls in pico-USD; negative where they cost more.

    `is_partial` says that some are left out, whose cost or standard price is not known.
    """

    picousd: int = 0
    is_partial: bool = False


def savings_by_tier(counts: Counts, span: Span, registry: ModelRegistry) -> dict[str, Saving]:
    """Return what each tier but the standard one has saved, without those of which nothing is known."""
    from llmroute.ledger.reports import PRUNED, lines_of

    found: dict[str, list[Line]] = {}
    for line in lines_of(counts, ("tier", "provider", "model"), span):
        found.setdefault(line.key["tier"], []).append(line)
    savings = {tier: saving(lines, tier, registry) for tier, lines in found.items() if tier not in (STANDARD, PRUNED)}
    return {tier: one for tier, one in savings.items() if one is not None}


def saving(lines: Iterable[Line], tier: str, registry: ModelRegistry) -> Saving | None:
    """Return what the models of a tier have saved; None where nothing is known.

    Base prices of today are used, as price tiers depend on single prompts.
    """
    costly = [line for line in lines if line.cost_picousd or line.unknown_cost_count]
    saved = [saved_picousd(line, tier, registry) for line in costly]
    known = [one for one in saved if one is not None]
    return None if saved and not known else Saving(sum(known), len(known) < len(saved))


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
