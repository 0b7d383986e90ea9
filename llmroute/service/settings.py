"""The configuration of the providers that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute import config
from llmroute.providers import PROVIDERS

if TYPE_CHECKING:
    from llmroute.config import Config


def load() -> Config:
    """Return the user's configuration.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    return config.load(PROVIDERS, check_models=_check_models)


def load_config() -> Config:
    """Return the user's configuration, for programs that change some of it: `load_config().with_api_keys({...})`.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    return load()


def _check_models(models: dict[str, Any]) -> dict[str, Any]:
    from llmroute.registry.schema import check_user_models

    return check_user_models(models, PROVIDERS)
