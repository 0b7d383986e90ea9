"""Deliver the results of concurrent requests one at a time, in the order of the requests if wanted."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result = TypeVar("Result")

MAX_AHEAD_PER_WORKER = 16
"""How many results per worker may wait for an earlier one."""
MAX_HELD_CHARACTERS = 16 * 1024 * 1024
"""How much text may wait for an earlier result."""


class OrderedDelivery(Generic[Result]):
    """Calls `deliver` for one result at a time; `length` returns the characters that a result holds in memory.

    Results are identified by consecutive numbers from 0.  With `in_order`, a result waits for those before it.
    """

    def __init__(
        self,
        deliver: Callable[[Result], Awaitable[None]],
        length: Callable[[Result], int],
        *,
        workers: int,
        in_order: bool,
    ) -> None:
        self._deliver = deliver
        self._length = length
        self._max_ahead = MAX_AHEAD_PER_WORKER * workers
        self._in_order = in_order
        self._lock = asyncio.Lock()
        self._next = 0
        self._held: dict[int, Result] = {}
        self._held_characters = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def add(self, number: int, result: Result) -> None:
        """Deliver a result, and those that waited for it; in order, hold it if an earlier one is missing."""
        if not self._in_order:
            async with self._lock:
                await self._deliver(result)
            return
        self._held[number] = result
        self._held_characters += self._length(result)
        async with self._lock:
            while (ready := self._held.pop(self._next, None)) is not None:
                self._held_characters -= self._length(ready)
                self._next += 1
                await self._deliver(ready)
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_room(self, number: int) -> None:
        """Wait until the result of this number may be held; the next one to be delivered never waits."""
        while self._in_order and number != self._next and self._is_full(number):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _is_full(self, number: int) -> bool:
        return number - self._next >= self._max_ahead or self._held_characters > MAX_HELD_CHARACTERS

    def cancel_waiters(self) -> None:
        """Cancel every task in `wait_for_room`."""
        for waiter in self._waiters:
            waiter.cancel()

    def take_held(self) -> list[Result]:
        """Return, and forget, the held results in the order of their numbers."""
        held = [self._held[number] for number in sorted(self._held)]
        self._held.clear()
        return held
