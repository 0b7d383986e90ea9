"""Objects that belong to one event loop: connections, and futures that its tasks wait for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from llmroute.after_fork import leave_to_parent, start_anew_in_children

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

T = TypeVar("T")


class _Made(NamedTuple, Generic[T]):
    one: T
    until_closed: AsyncGenerator[None]


class PerLoop(Generic[T]):
    """Creates one object for each event loop; `close` is awaited before a loop shuts down."""

    def __init__(self, new: Callable[[], T], close: Callable[[T], Awaitable[None]] | None = None) -> None:
        self._new = new
        self._close = close
        self._by_loop: dict[asyncio.AbstractEventLoop, _Made[T]] = {}
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Forget all objects: a forked child has loops of its own."""
        leave_to_parent(self._by_loop)
        self._by_loop = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """Return the object of the running loop."""
        loop = asyncio.get_running_loop()
        made = self._by_loop.get(loop)
        return self._make(loop) if made is None else made.one

    def _make(self, loop: asyncio.AbstractEventLoop) -> T:
        one = self._new()
        until_closed = self._keep(loop, one)
        # A loop closes the generators that have begun, and nothing else, before it shuts down.
        with suppress(StopIteration):
            until_closed.__anext__().send(None)
        with self._lock:
            for closed in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[closed]
            self._by_loop[loop] = _Made(one, until_closed)
        return one

    async def _keep(self, loop: asyncio.AbstractEventLoop, one: T) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._by_loop.pop(loop, None)
            if self._close is not None:
                await self._close(one)

    async def close(self) -> None:
        """Close the object of the running loop; the next `get` creates another."""
        if (made := self._by_loop.get(asyncio.get_running_loop())) is not None:
            await made.until_closed.aclose()

    def every(self) -> list[T]:
        """Return the objects of all loops that are not closed."""
        with self._lock:
            return [made.one for loop, made in self._by_loop.items() if not loop.is_closed()]
