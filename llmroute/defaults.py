"""Hooks that the package root sets, so that lower layers need not import it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

own_registry: Callable[[], Any]
"""Returns the ModelRegistry of the user's catalogue and config.toml.  Raises ConfigError."""
