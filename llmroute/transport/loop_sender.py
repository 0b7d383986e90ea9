"""A blocking sender for a worker thread of an event loop: requests run on that loop, with its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from llmroute.errors import AttemptError, ProviderTimeoutError, UnreachableError
from llmroute.transport.exchange import BlockingExchange
from llmroute.transport.network.send_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from llmroute.transport.async_client import AsyncExchange, AsyncSender
    from llmroute.transport.client import Sender
    from llmroute.types import HTTPRequest

T = TypeVar("T")

# The loop enforces the limits; it may itself be late.
GRACE_S = 1.0


class LoopSender:
    """As `Sender`, on an `AsyncSender`; for threads other than the loop's own."""

    def __init__(self, sender: AsyncSender, loop: asyncio.AbstractEventLoop) -> None:
        self._sender = sender
        self._loop = loop

    def open(
        self, request: HTTPRequest, *, connect_s: float, answer_s: float, progress: Progress | None = None
    ) -> LoopExchange:
        """As `Sender.open`."""
        progress = progress or Progress()
        opening = self._sender.open(request, connect_s=connect_s, answer_s=answer_s, progress=progress)
        try:
            return LoopExchange(_wait(self._loop, opening, connect_s + answer_s), self._loop)
        except AttemptError as error:
            error.sent = error.sent and progress.sent
            raise


class LoopExchange(BlockingExchange):
    """As `Exchange`, on an `AsyncExchange`."""

    def __init__(self, exchange: AsyncExchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._loop = loop
        self.status = exchange.status
        self.headers = exchange.headers

    def read(self, within_s: float) -> bytes:
        """As `Exchange.read`."""
        return _wait(self._loop, self._exchange.read(within_s), within_s)

    def close(self) -> None:
        """As `Exchange.close`."""
        _wait(self._loop, self._exchange.close(), GRACE_S)


AnySender: TypeAlias = "Sender | LoopSender"


def _wait(loop: asyncio.AbstractEventLoop, doing: Coroutine[Any, Any, T], within_s: float) -> T:
    """Run a coroutine on the loop and return its result.

    Raises:
        UnreachableError: the loop is closed.
        ProviderTimeoutError: it took longer.
    """
    try:
        future = asyncio.run_coroutine_threadsafe(doing, loop)
    except RuntimeError as error:
        doing.close()
        raise UnreachableError("the event loop is closed") from error
    try:
        return future.result(within_s + GRACE_S)
    except TimeoutError as error:
        future.cancel()
        raise ProviderTimeoutError(f"no data for {within_s:.3g} s") from error
