"""Tell once a week that the catalogue is old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.notices import last_told, remember

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.registry import ModelRegistry

MEMORY = "catalogue.warned"
"""The file in the config directory that holds the day of the last warning."""


def warn_when_stale(registry: ModelRegistry, config_dir: Path, note: Callable[[str], None]) -> None:
    """Tell `note` that the catalogue is older than 60 days, unless it was told within the week."""
    if registry.stale_warning(None) is None:
        return
    memory = config_dir / MEMORY
    warning = registry.stale_warning(last_told(memory, registry.today))
    if warning is None:
        return
    note(warning)
    remember(memory, registry.today)
