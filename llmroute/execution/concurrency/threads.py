"""Threads for blocking calls, separate from the default executor of the loop, which the program may fill."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, TypeVar

from llmroute.after_fork import leave_to_parent, start_anew_in_children

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_THREADS = 16

waiting_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("llmroute_waiting_loop", default=None)
"""The event loop that waits for a call in this thread; None elsewhere."""


class Threads:
    """A pool of threads that is created when it is first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Forget the pool: threads are not forked."""
        leave_to_parent(self._pool)
        self._pool = None
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start a call; return its future for the running loop.  The call sees the caller's context variables."""
        with self._lock:
            loop = asyncio.get_running_loop()
            context = copy_context()
            context.run(waiting_loop.set, loop)
            return loop.run_in_executor(self._opened(), context.run, call)

    async def run(self, call: Callable[[], T]) -> T:
        """Make a call in a thread; return its result, or raise its error."""
        return await self.submit(call)

    def start(self, call: Callable[[], object]) -> None:
        """Start a call in a thread without waiting for it."""
        with self._lock:
            self._opened().submit(call)

    def _opened(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="llmroute")
        return self._pool

    def close(self) -> None:
        """End the threads when their running calls have ended."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
