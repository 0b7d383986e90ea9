"""Waiting in a test for what another thread or process does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# What a busy machine never takes; only a test that fails waits so long.
PATIENCE_S = 60.0


def wait_until(happened: Callable[[], object]) -> None:
    """Wait until something has happened, and fail when it does not."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.01)
