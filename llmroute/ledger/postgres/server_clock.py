"""The clocks of servers, as this process reads them between two round trips."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmroute.ledger_location import ServerAddress

# Counts suspended time too, where the system has it.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ServerClock:
    """The server's time of day, which steps of this machine's clock do not change."""

    def __init__(self) -> None:
        self._ahead_ms: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether it was ever set."""
        return self._ahead_ms is not None

    @property
    def offset_ms(self) -> int:
        """How far the server's clock is ahead of this machine's now; 0 before it was set."""
        return 0 if self._ahead_ms is None else self._ahead_ms + steady_ms() - time.time_ns() // 1_000_000

    def set(self, server_ms: int, sent_ms: int) -> None:
        """Set it by the server's time in UTC milliseconds in the answer to a statement that was sent at `sent_ms`."""
        self._ahead_ms = server_ms - (sent_ms + steady_ms()) // 2


# A connection that is opened again after an error has the clock that was known before it.
_clocks: dict[ServerAddress, ServerClock] = {}


def clock_of(address: ServerAddress) -> ServerClock:
    """Return the clock of a server, one for all connections of this process."""
    return _clocks.setdefault(address, ServerClock())


def steady_ms() -> int:
    """Return milliseconds since an arbitrary moment, by a clock that is never set."""
    return time.clock_gettime_ns(_STEADY) // 1_000_000
