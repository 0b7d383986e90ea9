"""The registry of the user's catalogue and own models, and the weekly warning about a stale catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.config import FILE, loading
from llmroute.notices import last_shown, record_shown
from llmroute.planning import settings
from llmroute.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

_Stamp = tuple[Any, ...]
_cached: tuple[_Stamp, ModelRegistry] | None = None
STALE_WARNING_FILE = "catalogue.warned"
"""The file in the config directory that holds the day of the last warning."""


def catalogue_path(config_dir: Path) -> Path:
    """Return the path of the refreshed catalogue."""
    return config_dir / "catalogue.json"


def registry_of(config_dir: Path, models: Mapping[str, Any], today: date | None = None) -> ModelRegistry:
    """Return the registry of a config directory and the user's own `models`, already validated."""
    return ModelRegistry(
        today=today, user_models=models, user_models_checked=True, catalogue_path=catalogue_path(config_dir)
    )


def own_registry() -> ModelRegistry:
    """Return the registry of the user's config directory, read again when one of its files has changed.

    Raises:
        ConfigError: config.toml cannot be read or has an unknown setting.
    """
    global _cached  # noqa: PLW0603 (one for the process: its config directory is one)
    folder = loading.directory()
    stamp = (folder, _stamp(folder / FILE), _stamp(catalogue_path(folder)))
    if _cached is not None and _cached[0] == stamp:
        return _cached[1]
    registry = registry_of(*settings.own_models())
    if registry.warning:
        from llmroute.logs import warn

        warn(registry.warning)
    _cached = stamp, registry
    return registry


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def warn_when_stale(registry: ModelRegistry, config_dir: Path, note: Callable[[str], None]) -> None:
    """Send `note` a warning that the catalogue is older than 60 days, at most once a week."""
    if registry.stale_warning(None) is None:
        return
    path = config_dir / STALE_WARNING_FILE
    warning = registry.stale_warning(last_shown(path, registry.today))
    if warning is None:
        return
    note(warning)
    record_shown(path, registry.today)
