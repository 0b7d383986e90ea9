"""The models that there are, with what holds of them here and today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.registry.pricing import price_on
from llmroute.service.planning import UNKNOWN_TYPICAL_S

if TYPE_CHECKING:
    from llmroute.service.api import LLMService
    from llmroute.types import ModelConfig, Price


@dataclass(frozen=True, slots=True)
class Listed:
    """A model, its price today, and whether it can be called from here."""

    model: ModelConfig
    price: Price | None
    status: str
    expected_latency_ms: int
    available: bool


def listed(service: LLMService, provider: str | None = None) -> list[Listed]:
    """Return every model of the catalogue, retired ones included."""
    registry = service.registry
    usable = {name: service.why_unusable(name) is None for name in service.config.providers}
    found = []
    for name in registry.list_models(provider):
        model = registry.resolve(name)
        status = registry.status(model)
        found.append(
            Listed(
                model=model,
                price=price_on(model, registry.today),
                status=status,
                expected_latency_ms=round(min(registry.typical_latency_ms(model.provider), UNKNOWN_TYPICAL_S * 1000)),
                available=usable[model.provider] and status != "retired",
            )
        )
    return found
