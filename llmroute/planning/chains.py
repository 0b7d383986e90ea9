"""The chains that there are: the predefined ones and the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.registry.pricing import rates_on
from llmroute.routing.chains import PREDEFINED
from llmroute.routing.plan import SAME_CLASS
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.types import ModelConfig


def all_chains(config: Config) -> dict[str, list[str]]:
    """Return every chain by its name, the user's own before a predefined one of the same name."""
    predefined = {name: [f"{provider}/{model}" for provider, model in pairs] for name, pairs in PREDEFINED.items()}
    return {**predefined, **config.chains}


def spelling(config: Config, name: str) -> str | None:
    """Return the name of a chain as it is written, whatever case it was asked for in; None where there is none."""
    chains = all_chains(config)
    if name in chains:
        return name
    return next((chain for chain in chains if chain.lower() == name.lower()), None)


def require_chain(config: Config, name: str) -> str:
    """Return the name of a chain as it is written.

    Raises:
        RequestError: there is none; the hint says which is called nearly so.
    """
    if (known := spelling(config, name)) is not None:
        return known
    chains = {chain.lower(): chain for chain in all_chains(config)}
    near = nearest(name.lower(), chains)
    hint = f"did you mean {chains[near]}?" if near else f"there are {', '.join(chains.values())}"
    raise RequestError(f"no chain is called {name!r}", hint=hint)


def meant(registry: ModelRegistry, model: ModelConfig) -> ModelConfig | None:
    """Return the model that an entry of a chain stands for today; None where it is retired and none may stand for it.

    A retired model is followed by its vendor's successor.  Where that costs over three times as much, what was cheap
    stays cheap: the best rated of the same provider that cost no more than the retired one does, if there is any.
    Prices are of input and output tokens together.
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
    """Return pico-USD for a token of input and one of output; infinite where that is unknown."""
    return sum(rates_on(model, registry.today))
