"""Selection of models by capability, price and latency.  Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from llmroute.registry.aliases import unknown_capability
from llmroute.registry.pricing import rates_on
from llmroute.types import CAPABILITIES, PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from llmroute.types import ModelConfig


def list_price(model: ModelConfig, day: date) -> float:
    """Return a day's price of an input and an output token together in pico-USD, infinite where unknown."""
    return sum(rates_on(model, day))


def by_capability(
    models: Iterable[ModelConfig], capability: str | None, max_cost_per_1k: float | None, day: date
) -> list[ModelConfig]:
    """Return the models with a capability, the cheapest first, unknown prices last.

    `max_cost_per_1k` is in USD per thousand tokens and limits the prices of input and of output.

    Raises:
        RequestError: the capability is unknown.
    """
    if capability is not None and capability not in CAPABILITIES:
        raise unknown_capability(capability)
    limit = None if max_cost_per_1k is None else max_cost_per_1k * PICO_PER_USD / 1000
    found = (
        model
        for model in models
        if (capability is None or capability in model.capabilities)
        and (limit is None or max(rates_on(model, day)) <= limit)
    )
    return sorted(found, key=lambda model: (list_price(model, day), model.name))


def cheapest(
    models: Iterable[ModelConfig], day: date, is_last_resort: Callable[[ModelConfig], bool]
) -> ModelConfig | None:
    """Return the model with the lowest known price; ties go to the higher quality, then to the first by name."""
    return min(
        (model for model in models if list_price(model, day) < inf),
        key=lambda model: (is_last_resort(model), list_price(model, day), -(model.quality or 0), model.name),
        default=None,
    )


def fastest(
    models: Iterable[ModelConfig],
    latency_ms: Callable[[ModelConfig], float],
    is_last_resort: Callable[[ModelConfig], bool],
) -> ModelConfig | None:
    """Return the model with the lowest latency; ties go to the first."""
    return min(models, key=lambda model: (is_last_resort(model), latency_ms(model)), default=None)
