"""The progress of sending a request: whether its provider can have received any of it, and so may bill it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class Progress:
    """The progress of sending one request.

    httpcore reports it by its trace, aiohttp through our own connector. A transport that reports no progress, as one of
    a caller's may, counts as having sent the request as soon as it receives it.
    """

    def __init__(self) -> None:
        self._entered = False
        self._reported = False
        self._taken = False

    @property
    def sent(self) -> bool:
        """Whether a byte of the request may have been sent."""
        return self._entered and (self._taken or not self._reported)

    @property
    def connecting(self) -> bool:
        """Whether the transport is known to be still waiting for a connection."""
        return self._reported and not self._taken

    def enter(self) -> None:
        """Record that a client has received the request."""
        self._entered = True

    def connect(self) -> None:
        """Record that the transport is waiting for a connection."""
        self._reported = True

    def send(self) -> None:
        """Record that a connection starts to send the request."""
        self._reported = self._taken = True

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Process an event of httpcore's trace. The CONNECT request to a proxy is traced as a separate request."""
        self._reported = True
        if event.endswith("send_request_headers.started"):
            self._taken = getattr(info.get("request"), "method", None) != b"CONNECT"
        elif event.endswith("send_request_headers.failed"):
            # The connection was closed before it sent the head.
            self._taken = False


in_flight: ContextVar[Progress | None] = ContextVar("in_flight", default=None)
"""The progress of the request that this task is sending, for a connector that is not given the request."""
