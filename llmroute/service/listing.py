"""The models that there are, with what holds of them here and today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmroute.registry.pricing import price_on
from llmroute.service.local import LOCAL_SERVER

if TYPE_CHECKING:
    from llmroute.service.api import LLMService
    from llmroute.types import ModelConfig, Price


@dataclass(frozen=True, slots=True)
class Listed:
    """A model and its price today."""

    model: ModelConfig
    price: Price | None
    status: str
    expected_latency_ms: int


def listed(service: LLMService, provider: str | None = None) -> list[Listed]:
    """Return every model of the catalogue, retired ones included."""
    registry = service.registry
    found = []
    for name in registry.list_models(provider):
        model = registry.resolve(name)
        status = registry.status(model)
        found.append(
            Listed(
                model=model,
                price=price_on(model, registry.today),
                status=status,
                expected_latency_ms=round(registry.typical_latency_ms(model.provider)),
            )
        )
    return found


def available(service: LLMService, found: list[Listed]) -> frozenset[str]:
    """Return the names of those that can be called from here; asks the local server what it has."""
    usable = {name: service.why_unusable(name) is None for name in service.config.providers}
    here = service.local_models()
    return frozenset(
        one.model.name
        for one in found
        if one.status != "retired"
        and usable[one.model.provider]
        and (one.model.provider != LOCAL_SERVER or here.why_unusable(one.model.api_name) is None)
    )
