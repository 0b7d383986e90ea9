"""The constraints of a request on the models that may serve it, from its options and the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.routing.parameters import refused
from llmroute.routing.plan import Balance, RoutingConstraints
from llmroute.routing.strategies import RoutingStrategy

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.request.options import Options
    from llmroute.request.rendered import RenderedRequest
    from llmroute.types import Prompt


def constraints_of(
    request: RenderedRequest, config: Config, registry: ModelRegistry, now_ms: int
) -> RoutingConstraints:
    """Return the constraints of a request; its own options replace those of the configuration."""
    options = request.options
    return RoutingConstraints(
        strategy=options.strategy or (config.strategy if options.worth_usd is None else RoutingStrategy.BALANCED),
        size=request.size,
        capabilities=options.capabilities() | request.size.capabilities,
        local_only=options.local_only,
        prefer_local=config.prefer_local if options.prefer_local is None else options.prefer_local,
        max_latency_ms=config.max_latency_ms if options.max_latency_ms is None else options.max_latency_ms,
        min_quality=options.min_quality or 0,
        budget_picousd=options.budget_picousd if options.on_budget != "refuse" else None,
        default_provider=config.default_provider,
        unsupported=_unsupported(request.prompt, registry) if options.strict_params else {},
        tier=request.prompt.tier,
        balance=_balance(options, config),
        default_preference=config.default_preference,
        checked=options.check is not None,
        upgrade=config.upgrade if options.upgrade is None else options.upgrade,
        now_ms=now_ms,
    )


def only_hard(constraints: RoutingConstraints) -> RoutingConstraints:
    """Return the constraints on a named model without soft limits; its budget is checked before its call."""
    return constraints._replace(capabilities=frozenset(), max_latency_ms=None, min_quality=0, budget_picousd=None)


def only_requested(constraints: RoutingConstraints, options: Options, *, known: bool) -> RoutingConstraints:
    """Return the constraints on a named model: hard ones, and the limits set by the request itself.

    The capabilities of a model that is not in the catalogue are not checked.
    """
    return only_hard(constraints)._replace(
        capabilities=options.given_capabilities() | constraints.size.capabilities if known else frozenset(),
        max_latency_ms=options.max_latency_ms,
        min_quality=constraints.min_quality,
    )


def _balance(options: Options, config: Config) -> Balance:
    balance = Balance(**config.balance)
    if options.worth_usd is not None:
        balance = balance._replace(wrong_answer_usd=options.worth_usd)
    # Without the sign of -0.0, which every term would show.
    return Balance(*map(abs, balance))


def _unsupported(prompt: Prompt, registry: ModelRegistry) -> dict[str, str]:
    models = map(registry.resolve, registry.list_models())
    found = {model.name: refused(prompt, model.parameters) for model in models}
    return {name: ", ".join(words.values()) for name, words in found.items() if words}
