"""Look up models and chains by the names that a user writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.providers import PROVIDERS
from llmroute.registry.pricing import rates_on
from llmroute.routing.chains import PREDEFINED
from llmroute.routing.plan import SAME_CLASS
from llmroute.text.suggest import nearest
from llmroute.types.labels import label_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.types import ModelConfig


def named_model(config: Config, registry: ModelRegistry, name: str, pulled: Callable[[str], bool]) -> ModelConfig:
    """Return the model with a name or alias; `pulled(name)` is called last, and says whether Ollama has it.

    A family name after its provider means the family's newest model, except behind a custom base URL.

    Raises:
        RequestError: the name matches no model, or several families, or no ledger can store it.
    """
    model = registry.resolve(name, config.default_provider, pulled)
    if (problem := label_problem(model.id)) is not None:
        raise RequestError(f"the name of the model {problem}", option="model")
    if model.known or PROVIDERS[model.provider].local or config.providers[model.provider].base_url is not None:
        return model
    return registry.newest(model.id, model.provider) or model


def all_chains(config: Config) -> dict[str, list[str]]:
    """Return every chain by name; the user's chains override predefined ones of the same name."""
    predefined = {name: [f"{provider}/{model}" for provider, model in pairs] for name, pairs in PREDEFINED.items()}
    return {**predefined, **config.chains}


def find_chain(config: Config, name: str) -> str | None:
    """Return the name of a chain as configured, matched without regard to case; None if there is none."""
    chains = all_chains(config)
    if name in chains:
        return name
    return next((chain for chain in chains if chain.lower() == name.lower()), None)


def require_chain(config: Config, name: str) -> str:
    """Return the name of a chain as configured, matched without regard to case.

    Raises:
        RequestError: there is no such chain; the hint names the nearest.
    """
    if (found := find_chain(config, name)) is not None:
        return found
    chains = {chain.lower(): chain for chain in all_chains(config)}
    near = nearest(name.lower(), chains)
    hint = f"did you mean {chains[near]}?" if near else f"there are {', '.join(chains.values())}"
    raise RequestError(f"no chain is called {name!r}", hint=hint)


def current_model(registry: ModelRegistry, model: ModelConfig) -> ModelConfig | None:
    """Return the model to call for a chain entry today; None if it is retired without a replacement.

    A retired model is replaced by its successor, unless the successor costs over three times as much (input and output
    price together): then by the best-rated active model of the provider that costs no more than the retired one.
    """
    if registry.status(model) != "retired":
        return model
    successor = registry.successor(model)
    price = _price(registry, model)
    if successor is None or _price(registry, successor) <= SAME_CLASS * price:
        return successor
    others = (registry.resolve(name) for name in registry.list_models(model.provider))
    alike = [other for other in others if registry.status(other) == "active" and _price(registry, other) <= price]
    return max(alike, key=lambda other: (other.quality or 0, -_price(registry, other), other.name), default=successor)


def _price(registry: ModelRegistry, model: ModelConfig) -> float:
    """Return pico-USD for one input and one output token; infinite if unknown."""
    return sum(rates_on(model, registry.today))
