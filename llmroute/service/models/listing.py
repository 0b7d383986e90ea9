"""List models with their price, status and availability of today."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Literal

from llmroute.errors import RequestError
from llmroute.planning.local.local_models import LOCAL_SERVER, unlisted_here
from llmroute.planning.local.model_cache import with_limits
from llmroute.planning.lookup import named_model
from llmroute.registry.aliases import unknown_capability
from llmroute.registry.pricing import price_on
from llmroute.routing.strategies import expected_latency_s
from llmroute.text.suggest import alternatives, nearest
from llmroute.types import CAPABILITIES, PICO_PER_USD, Message, Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from llmroute.planning.candidates import Candidates
    from llmroute.planning.local.local_models import LocalModels
    from llmroute.registry import ModelRegistry
    from llmroute.registry.expectations import Quality
    from llmroute.service.core import ServiceCore
    from llmroute.types import ModelConfig, Price

Order = Literal["price", "quality", "latency", "context"]
_TOKENS = 10**6
SHORT_PROMPT = Prompt((Message("user", "hi"),))


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model, its price and status of today, and its expected latency and quality."""

    model: ModelConfig
    price: Price | None
    status: str
    expected_latency_ms: int | None
    expected_quality: Quality


def listed(registry: ModelRegistry, provider: str | None = None) -> list[PricedModel]:
    """Return every model of the catalogue, retired ones included."""
    return [as_listed(registry, registry.resolve(name)) for name in registry.list_models(provider)]


def named_here(core: ServiceCore, name: str) -> ModelConfig:
    """Return the model with a name, also one that only the local server has.

    Raises:
        RequestError: no model has that name, or several families have it.
    """
    here = core.models.local_models

    def pulled(api_name: str) -> bool:
        return core.endpoints.why_unusable(LOCAL_SERVER) is None and here.has(api_name)

    return named_model(core.config, core.registry, name, pulled)


def with_local(core: ServiceCore, found: Iterable[PricedModel], provider: str | None = None) -> list[PricedModel]:
    """Return the models and those that only the local server has, local ones with the server's limits."""
    every = list(found)
    if provider not in (None, LOCAL_SERVER) or core.endpoints.why_unusable(LOCAL_SERVER) is not None:
        return every
    here = core.models.local_models
    if not here.is_up():
        return every
    every += [as_listed(core.registry, model) for model in unlisted_here(core.registry, here)]
    return with_limits_here(core, every)


def with_limits_here(core: ServiceCore, found: Iterable[PricedModel]) -> list[PricedModel]:
    """Return the models, those of the local server with its limits."""
    here = core.models.local_models
    return [replace(one, model=_with_own_limits(here, one.model)) for one in found]


def _with_own_limits(here: LocalModels, model: ModelConfig) -> ModelConfig:
    reported = here.limits(model.api_name) if model.provider == LOCAL_SERVER else None
    return model if reported is None else with_limits(model, reported)


def as_listed(registry: ModelRegistry, model: ModelConfig) -> PricedModel:
    """Return a model with its price, status and expectations of today."""
    typical_ms = registry.typical_latency_ms(model.provider)
    return PricedModel(
        model=model,
        price=price_on(model, registry.today),
        status=registry.status(model),
        expected_latency_ms=round(typical_ms) if isfinite(typical_ms) else None,
        expected_quality=registry.expected_quality(model),
    )


def measured(core: ServiceCore, found: Iterable[PricedModel]) -> list[PricedModel]:
    """Return models with the latency that a plan for a short prompt expects."""
    candidates = core.candidates(SHORT_PROMPT)
    return [replace(one, expected_latency_ms=_expected_ms(candidates, one)) for one in found]


def _expected_ms(candidates: Candidates, one: PricedModel) -> int | None:
    latency_s = expected_latency_s(candidates.of(one.model))
    return round(latency_s * 1000) if isfinite(latency_s) else None


def narrowed(
    found: Iterable[PricedModel], capabilities: Collection[str] = (), max_usd_per_mtok: float | None = None
) -> list[PricedModel]:
    """Return the models with every capability whose input and output cost at most so much per million tokens.

    An unknown price exceeds any limit.

    Raises:
        RequestError: there is no such capability.
    """
    for capability in capabilities:
        if capability not in CAPABILITIES:
            raise unknown_capability(capability)
    wanted = frozenset(capabilities)
    return [
        one
        for one in found
        if wanted <= one.model.capabilities and (max_usd_per_mtok is None or max(_usd(one)) <= max_usd_per_mtok)
    ]


def matching(
    found: Iterable[PricedModel], search: str, registry: ModelRegistry, commands: Iterable[str] = ()
) -> list[PricedModel]:
    """Return the models with `search` in their `provider/id` or in an alias, in upper or lower case.

    Raises:
        RequestError: there are none; the hint names a similar one of `commands`, or similar models.
    """
    matches = [one for one in found if _has_word(one.model, search)]
    if matches:
        return matches
    excluded = [one for one in listed(registry) if _has_word(one.model, search)]
    if excluded:
        one = next((one for one in excluded if one.status != "retired"), excluded[0])
        status = "is retired" if one.status == "retired" else "is excluded by another option"
        hint: str | None = f"{one.model.name} {status}"
    else:
        near = [command for command in (nearest(search, commands),) if command] or registry.near(search)
        hint = f"did you mean {alternatives(near)}?" if near else None
    raise RequestError(f"no model matches {search!r}", hint=hint)


def _has_word(model: ModelConfig, search: str) -> bool:
    return any(search.lower() in name.lower() for name in (model.name, *model.aliases))


def ordered(found: Iterable[PricedModel], by: Order) -> list[PricedModel]:
    """Return models best first: by price (input and output together), quality, latency or context window.

    Unknown values come last, and ties are sorted by name.
    """
    keys: dict[Order, Callable[[PricedModel], float]] = {
        "price": lambda one: sum(_usd(one)),
        "quality": lambda one: -one.expected_quality.value,
        "latency": lambda one: inf if one.expected_latency_ms is None else one.expected_latency_ms,
        "context": lambda one: -(one.model.context_window or 0),
    }
    return sorted(found, key=lambda one: (keys[by](one), one.model.name))


def _usd(one: PricedModel) -> tuple[float, float]:
    """The price of a million tokens of input and of output, infinite where it is unknown."""
    prices = (one.price.input, one.price.output) if one.price else (None, None)
    first, second = (inf if price is None else price * _TOKENS / PICO_PER_USD for price in prices)
    return first, second


def available(core: ServiceCore, found: Iterable[PricedModel]) -> frozenset[str]:
    """Return the names of the models that can be called from here; queries the local server."""
    why = why_unavailable(core, found)
    return frozenset(name for name, problem in why.items() if problem is None)


def why_unavailable(core: ServiceCore, found: Iterable[PricedModel]) -> dict[str, str | None]:
    """Return why each cannot be called from here, None if it can.  Queries the local server."""
    why = {name: core.endpoints.why_unusable(name) for name in core.config.providers}
    here = core.models.local_models

    def problem(one: PricedModel) -> str | None:
        if one.status == "retired":
            return f"retired on {one.model.retires_on}"
        if why[one.model.provider] is None and one.model.provider == LOCAL_SERVER:
            return here.why_unusable(one.model.api_name)
        return why[one.model.provider]

    return {one.model.name: problem(one) for one in found}
