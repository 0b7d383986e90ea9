"""What belongs to one event loop: connections, and futures that its tasks wait for."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from llmroute.after_fork import leave_to_parent, start_anew_in_children

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one of its kind for each event loop that asks; those of loops that are closed are dropped."""

    def __init__(self, new: Callable[[], T]) -> None:
        self._new = new
        self._by_loop: dict[asyncio.AbstractEventLoop, T] = {}
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Forget what was made: a forked child has loops of its own."""
        leave_to_parent(self._by_loop)
        self._by_loop = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """Return the one of the running loop."""
        loop = asyncio.get_running_loop()
        made = self._by_loop.get(loop)
        return self._make(loop) if made is None else made

    def _make(self, loop: asyncio.AbstractEventLoop) -> T:
        with self._lock:
            for closed in [one for one in self._by_loop if one.is_closed()]:
                del self._by_loop[closed]
            made = self._by_loop[loop] = self._new()
        return made

    def forget(self) -> T | None:
        """Return the one of the running loop, and make a new one when it asks again."""
        with self._lock:
            return self._by_loop.pop(asyncio.get_running_loop(), None)

    def every(self) -> list[T]:
        """Return those of all loops."""
        with self._lock:
            return [*self._by_loop.values()]
