"""Tell once a week that the catalogue is old."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

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
    warning = registry.stale_warning(_last_warned(memory, registry.today))
    if warning is None:
        return
    note(warning)
    with suppress(OSError):  # then it is told again
        config_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(f"{registry.today.isoformat()}\n", encoding="utf-8")


def _last_warned(memory: Path, today: date) -> date | None:
    """Return the day of the last warning; a day that is yet to come was told by a clock that was wrong."""
    try:
        day = date.fromisoformat(memory.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
    return day if day <= today else None
