"""How far a request has come on its way out: whether its provider can have seen any of it, and so may bill it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class Progress:
    """How far one request has come.

    The transport tells: httpcore by its trace, aiohttp through our own connector.  A transport that tells nothing, as
    one of a caller's may, can have sent the request as soon as it has it.
    """

    def __init__(self) -> None:
        self._entered = False
        self._told = False
        self._taken = False

    @property
    def sent(self) -> bool:
        """Whether a byte of the request may have been sent."""
        return self._entered and (self._taken or not self._told)

    @property
    def connecting(self) -> bool:
        """Whether the transport is known to look for a connection still."""
        return self._told and not self._taken

    def enter(self) -> None:
        """Note that a client has the request from now on."""
        self._entered = True

    def connect(self) -> None:
        """Note that the transport looks for a connection."""
        self._told = True

    def send(self) -> None:
        """Note that a connection takes the request."""
        self._told = self._taken = True

    def note(self, event: str, told: dict[str, Any]) -> None:
        """Take an event of httpcore's trace.

        What asks a proxy for a way to the provider goes out as a request of its own.
        """
        self._told = True
        if event.endswith("send_request_headers.started"):
            self._taken = getattr(told.get("request"), "method", None) != b"CONNECT"
        elif event.endswith("send_request_headers.failed"):
            # The connection was gone before it took the head.
            self._taken = False


under_way: ContextVar[Progress | None] = ContextVar("under_way", default=None)
"""The progress of the request that this task is sending, for a connector that is not given the request."""
