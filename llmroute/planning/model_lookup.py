"""The model that a person means by a name, the same wherever one is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.types import ModelConfig


def named_model(config: Config, registry: ModelRegistry, name: str, pulled: Callable[[str], bool]) -> ModelConfig:
    """Return the model; `pulled` says whether the local server has one of a name, and is asked when no other has.

    A family's word behind its provider means its newest too, but at a gateway, whose names are its own.

    Raises:
        RequestError: no model is called so, or several families are.
    """
    model = registry.resolve(name, config.default_provider, pulled)
    if model.known or PROVIDERS[model.provider].local or config.providers[model.provider].base_url is not None:
        return model
    return registry.newest(model.id, model.provider) or model
