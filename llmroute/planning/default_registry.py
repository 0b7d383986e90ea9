"""The user's own registry: what `ModelRegistry` answers with when its class is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute import config
from llmroute.planning import settings
from llmroute.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

_Stamp = tuple[Any, ...]
_kept: tuple[_Stamp, ModelRegistry] | None = None


def catalogue_path(config_dir: Path) -> Path:
    """Where a refreshed catalogue is kept."""
    return config_dir / "catalogue.json"


def registry_of(config_dir: Path, models: Mapping[str, Any], today: date | None = None) -> ModelRegistry:
    """Return the registry of a config directory and of the user's own models, which were checked."""
    return ModelRegistry(
        today=today, user_models=models, user_models_checked=True, catalogue_path=catalogue_path(config_dir)
    )


def own_registry() -> ModelRegistry:
    """Return the registry of the user's config directory, made anew when a file that it is made of has changed.

    Raises:
        ConfigError: config.toml cannot be read, or holds what no setting is called.
    """
    global _kept  # noqa: PLW0603 (one for the process: its config directory is one)
    folder = config.directory()
    stamp = (folder, _stamp(folder / config.FILE), _stamp(catalogue_path(folder)))
    if _kept is not None and _kept[0] == stamp:
        return _kept[1]
    registry = registry_of(*settings.own_models())
    if registry.warning:
        from llmroute import logs

        logs.warn(registry.warning)
    _kept = stamp, registry
    return registry


def _stamp(path: Path) -> _Stamp | None:
    """What changes when the file is written; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
