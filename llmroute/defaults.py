"""What stands in where a caller gives nothing: lent by the root of the package to those below, who do not import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

own_registry: Callable[[], Any]
"""Returns the ModelRegistry of the user's own catalogue and config.toml.  Raises ConfigError."""
