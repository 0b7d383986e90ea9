"""Connections whose reads end at a moment that the reading thread has set, which may come nearer from read to read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import threading

WRITE_BYTES = 64 * 1024


class TimedBackend:
    """Opens connections whose reads end at the moment that the reading thread has set."""

    def __init__(self, inner: Any, reading: threading.local) -> None:
        self._inner = inner
        self._reading = reading

    def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> TimedStream:
        """Open a connection."""
        # A host as text would be looked up by way of a codec that takes 2 ms to import; it is ASCII already.
        return TimedStream(self._inner.connect_tcp(host.encode(), *args, **kwargs), self._reading)


class TimedStream:
    """`unread` is about how much is left of what the last look at the socket brought: never more than there is."""

    def __init__(self, inner: Any, reading: threading.local) -> None:
        self._inner = inner
        self._reading = reading
        self.unread = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Return what has come.

        Raises:
            httpcore.ReadTimeout: nothing has, and the moment is there.
        """
        piece: bytes = self._inner.read(max_bytes, self._left_s())
        self.unread = len(piece)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Write all of it."""
        # In pieces, for each has the whole time-out, and whoever takes a long prompt slowly must not have it often.
        for start in range(0, len(buffer), WRITE_BYTES):
            self._inner.write(buffer[start : start + WRITE_BYTES], self._left_s())

    def _left_s(self) -> float:
        left_s: float = self._reading.until - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("")
        return left_s

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> TimedStream:
        """Return the same connection, encrypted."""
        return TimedStream(self._inner.start_tls(*args, **kwargs), self._reading)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know of the socket."""
        return self._inner.get_extra_info(info)
