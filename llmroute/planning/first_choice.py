"""The model that a request's fallbacks stand behind, where its caller named a provider or a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.planning.candidates import LAST_RESORT
from llmroute.providers import PROVIDERS
from llmroute.request.options import require_one_of
from llmroute.routing.plan import RoutingConstraints
from llmroute.routing.router import plan
from llmroute.routing.token_estimate import PromptSize

if TYPE_CHECKING:
    from llmroute.planning.candidates import Candidates
    from llmroute.registry import ModelRegistry
    from llmroute.routing.plan import Candidate
    from llmroute.types import ModelConfig


def best_of(
    candidates: Candidates, registry: ModelRegistry, provider: str | None, wish: RoutingConstraints
) -> ModelConfig | None:
    """Return the best model of a provider, or of all, by the strategy of a request; None where there is none.

    It is the best also while it is left alone after failures.  Where no model of the provider may serve the request, or
    none can be called from here, it is the best of them all the same: fallbacks are measured against its price.

    Raises:
        RequestError: there is no such provider.
    """
    require_one_of("provider", provider, PROVIDERS)
    found = candidates.of_provider(provider) if provider else candidates.all()
    usable = [one for one in found if not one.unusable and _counts(one, provider, wish)]
    made = plan(wish, map(_awake, usable))
    if made.entries or not provider:
        return made.entries[0].model if made.entries else None
    living = [one for one in found if registry.status(one.model) != "retired"]
    size = PromptSize(expected_input=1, least_input=0, worst_input=0, expected_output=wish.size.expected_output)
    unbound = RoutingConstraints(wish.strategy, size)
    made = plan(unbound, (_awake(candidates.of(one.model))._replace(unusable=None) for one in usable or living))
    return made.entries[0].model if made.entries else None


def _counts(one: Candidate, provider: str | None, wish: RoutingConstraints) -> bool:
    """Whether a model is one that the request may mean: the embedded engine only where its provider was named."""
    return one.model.provider != LAST_RESORT or provider == LAST_RESORT or wish.local_only


def _awake(one: Candidate) -> Candidate:
    return one._replace(learned=one.learned._replace(awake=True), last_resort=False)
