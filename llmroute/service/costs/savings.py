"""What service tiers have saved: the cost of the same tokens at the standard price, less what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.registry.pricing import cost_picousd, price_on
from llmroute.types import Usage

if TYPE_CHECKING:
    from llmroute.ledger.port import Counts, Span
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
        if tier not in (STANDARD, PRUNED) and (picousd := saved_picousd(line, registry)) is not None:
            saved[tier] = saved.get(tier, 0) + picousd
    return saved


def saved_picousd(line: Line, registry: ModelRegistry) -> int | None:
    """Return the cost of a model's tokens at its standard price, minus what they cost; None where one is unknown."""
    if line.cost_picousd == 0:
        return None
    price = price_on(registry.get_model_config(line.key["provider"], line.key["model"]), registry.today)
    usage = Usage(line.input_tokens, line.cached_input_tokens, None, line.output_tokens)
    standard = None if price is None else cost_picousd(usage, price._replace(tiers=()))
    return None if standard is None else standard - line.cost_picousd
