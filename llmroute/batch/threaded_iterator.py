"""Take from an iterator that may make its reader wait, a pipe for one, without keeping an event loop from ending."""

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
    """Takes one item after the other in a thread of its own, each when it is asked for.

    The thread is a daemon: who waits for a line that never comes keeps nobody from leaving.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._asked: queue.SimpleQueue[asyncio.Future[Item | None]] = queue.SimpleQueue()
        self._pending: set[asyncio.Future[Item | None]] = set()
        self._closed = False
        self.unclaimed: list[Item] = []
        """What was read, and came after `close`."""
        threading.Thread(target=self._work, daemon=True).start()

    async def take(self) -> Item | None:
        """Return the next item, None at the end and after `close`.

        Raises:
            Exception: whatever the iterator raises.
        """
        if self._closed:
            return None
        answer: asyncio.Future[Item | None] = self._loop.create_future()
        self._asked.put(answer)
        self._pending.add(answer)
        try:
            return await answer
        finally:
            self._pending.discard(answer)

    def close(self) -> None:
        """Let no more be waited for."""
        self._closed = True
        for answer in self._pending:
            if not answer.done():
                answer.set_result(None)

    def _work(self) -> None:
        while True:
            answer = self._asked.get()
            try:
                item, error = next(self._items, None), None
            except Exception as raised:  # noqa: BLE001 (whoever asked gets it)
                item, error = None, raised
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._answer, answer, item, error)

    def _answer(self, answer: asyncio.Future[Item | None], item: Item | None, error: Exception | None) -> None:
        if answer.done():
            if item is not None:
                self.unclaimed.append(item)
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(item)
