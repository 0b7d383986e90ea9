"""The configuration of all providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.config import FILE, file, loading
from llmroute.providers import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.config.env import Settings


def load() -> Config:
    """Return the user's configuration.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    return loading.load(PROVIDERS, check_models=_check_models)


def variables(config_dir: Path) -> Settings:
    """Return the variables of the environment and of the .env files.

    Raises:
        ConfigError: a .env file cannot be read.
    """
    return loading.variables(PROVIDERS, config_dir)


def load_config() -> Config:
    """Return the user's configuration, for programs that change some of it: `load_config().with_api_keys({...})`.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    return load()


def own_models() -> tuple[Path, dict[str, Any]]:
    """Return the config directory, and the user's own models in its config.toml, checked.

    Raises:
        ConfigError: config.toml cannot be read, or holds what no setting is called.
    """
    folder = loading.directory()
    return folder, file.read(folder / FILE, _check_models).get("models", {})


def _check_models(models: dict[str, Any]) -> dict[str, Any]:
    from llmroute.registry.schema import check_user_models

    return check_user_models(models, PROVIDERS)
