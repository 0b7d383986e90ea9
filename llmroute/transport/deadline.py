"""A time limit on every step of blocking traffic, including name resolution.

httpx bounds each read from a socket, which a server that sends byte by byte renews for ever, and cannot bound how long
a name takes to be resolved.  So the traffic runs in a separate thread, and the caller waits for it no longer than its
limit. The connection of an abandoned thread is closed; without a connection, the thread ends when its system call
returns.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class _End:
    """The iterator has ended; `error` is what it raised."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Background(Generic[T]):
    """Reads the items of an iterator in a daemon thread, with the context variables of the creating thread."""

    def __init__(self, items: Iterator[T]) -> None:
        self._arrived: SimpleQueue[T | _End] = SimpleQueue()
        self._end: _End | None = None
        self._items = items
        threading.Thread(target=copy_context().run, args=(self._work,), daemon=True, name="llmroute-http").start()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._arrived.put(item)
        except BaseException as error:  # noqa: BLE001 (raised again where the items are taken)
            self._arrived.put(_End(error))
        else:
            self._arrived.put(_End())

    def take(self, within_s: float) -> list[T]:
        """Return the items that have arrived, at least one; an empty list at the end.

        Raises:
            TimeoutError: nothing has arrived within `within_s` seconds.
            BaseException: the error of the iterator, after the items before it.
        """
        items: list[T] = []
        while self._end is None:
            try:
                item = self._arrived.get_nowait() if items else self._arrived.get(timeout=within_s)
            except Empty:
                if items:
                    return items
                raise TimeoutError from None
            if isinstance(item, _End):
                self._end = item
            else:
                items.append(item)
        if not items and self._end.error is not None:
            raise self._end.error
        return items
