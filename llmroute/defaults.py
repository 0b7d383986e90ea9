"""What stands in where a caller gives nothing: lent by the root of the package to those below, who do not import it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

own_registry: Callable[[], Any]
"""Returns the ModelRegistry of the user's own catalogue and config.toml.  Raises ConfigError."""
