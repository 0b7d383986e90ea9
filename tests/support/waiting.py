"""Waiting in a test for what another thread or process does."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a busy machine never takes; only a test that fails waits so long.
PATIENCE_S = 60.0


def wait_until(happened: Callable[[], object]) -> None:
    """Wait until something has happened, and fail when it does not."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.01)


@contextmanager
def patient_with_the_local_server() -> Iterator[None]:
    """Wait for the local server longer than a person would, so that a busy machine does not make it count as down."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONNECT_TIMEOUT_S", "PROBE_TIMEOUT_S"):
            patch.setattr(f"llmroute.planning.local.local_models.{name}", PATIENCE_S)
        yield
