"""Ids of requests, which sort by time."""

from __future__ import annotations

import os
import time


def now_ms() -> int:
    """Return the time of day in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def new_id(at_ms: int | None = None) -> str:
    """Return an id that sorts by time, now or `at_ms`, so that the ledger grows at its end."""
    return f"{now_ms() if at_ms is None else at_ms:012x}{os.urandom(8).hex()}"


def begun_ms(made_id: str) -> int:
    """Return when an id was made by `new_id`, in UTC milliseconds."""
    return int(made_id[:12], 16)
