"""The chains that there are: the predefined ones and the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.nearest import nearest
from llmroute.routing.chains import PREDEFINED

if TYPE_CHECKING:
    from llmroute.config import Config


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
