"""Iterate over a blocking iterator, such as the lines of a pipe, from an event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")


class ThreadedIterator(Generic[Item]):
    """Takes each item on demand, in a thread of its own.

    The thread is a daemon, unlike those of asyncio.to_thread: a read that never returns must not block the exit.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._demands: queue.SimpleQueue[asyncio.Future[Item | None]] = queue.SimpleQueue()
        self._pending: asyncio.Future[Item | None] | None = None
        self._closed = False
        self.unclaimed: list[Item] = []
        """Items that were read and arrived after `close`."""
        threading.Thread(target=self._work, daemon=True).start()

    async def take(self) -> Item | None:
        """Return the next item, None at the end and after `close`.  One call may wait at a time.

        Raises:
            Exception: whatever the iterator raises.
        """
        if self._closed:
            return None
        demand: asyncio.Future[Item | None] = self._loop.create_future()
        self._pending = demand
        self._demands.put(demand)
        return await demand

    def close(self) -> None:
        """Return None to the call that waits, and to all later ones."""
        self._closed = True
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(None)

    def _work(self) -> None:
        while True:
            demand = self._demands.get()
            try:
                item, error = next(self._items, None), None
            except Exception as raised:  # noqa: BLE001 (passed to the caller of `take`)
                item, error = None, raised
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._deliver, demand, item, error)

    def _deliver(self, demand: asyncio.Future[Item | None], item: Item | None, error: Exception | None) -> None:
        if demand.done():
            if item is not None:
                self.unclaimed.append(item)
        elif error is not None:
            demand.set_exception(error)
        else:
            demand.set_result(item)
