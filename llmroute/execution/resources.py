"""Connections, threads and ledger writers of a service, opened when first needed."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import RequestError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import httpx

    from llmroute.execution.accounting.group_commit import GroupCommitWriter
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.concurrency.per_loop import PerLoop
    from llmroute.execution.concurrency.threads import Threads
    from llmroute.ledger.port import LedgerPort
    from llmroute.transport.async_client import AsyncSender
    from llmroute.transport.client import Sender
    from llmroute.transport.loop_sender import AnySender

T = TypeVar("T")

_left_open: list[Resources] = []


class Resources:
    """Opens each resource when it is first needed; closes them together with the ledger of `writer`.

    `http_client` and `async_http_client` are the caller's own, used in place of ours and never closed here.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        http_client: httpx.Client | None = None,
        async_http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Open nothing yet.

        Raises:
            RequestError: a client is of another kind.
        """
        self._writer = writer
        self._http_client = http_client
        self._async_http_client = async_http_client
        self._sender: Sender | None = None
        self._async_senders: PerLoop[AsyncSender] | None = None
        self._async_writers: PerLoop[GroupCommitWriter] | None = None
        self._threads: Threads | None = None
        self._is_closed = False
        self._is_released = False
        # The event loop of each request in flight; None for a blocking one.
        self._in_flight: list[asyncio.AbstractEventLoop | None] = []
        self._closed_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._lock = threading.RLock()
        start_anew_in_children(self)
        self._refuse_wrong_clients()

    def _refuse_wrong_clients(self) -> None:
        if self._http_client is not None:
            self.sender()
        if self._async_http_client is not None:
            from llmroute.transport.async_client import AsyncSender

            AsyncSender(self._async_http_client)

    def start_anew(self) -> None:
        """Make a new lock: a thread of the parent may have held it."""
        self._lock = threading.RLock()

    def require_open(self) -> None:
        """Check that the service was closed neither as a whole nor for the running event loop.

        Raises:
            RequestError: it was closed.
        """
        if self._is_closed or (self._closed_loops and _running_loop() in self._closed_loops):
            raise RequestError("the service is closed; create a new LLMService")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep count of the requests in flight: where a service is closed meanwhile, the last one closes the rest.

        Raises:
            RequestError: as `require_open`.
        """
        self.require_open()
        loop = _running_loop()
        with self._lock:
            self._in_flight.append(loop)
            self._is_released = False
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.remove(loop)
                left_open = (self._is_released or self._is_closed) and not self._in_flight
            if left_open:
                self._release()

    def counted(self, pieces: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the pieces of a blocking request, which is in flight meanwhile; see `in_use`."""
        with self.in_use():
            yield from pieces

    def sender(self) -> Sender:
        """Return the sender of blocking callers."""
        with self._lock:
            if self._sender is None:
                from llmroute.transport.client import Sender

                self._sender = Sender(self._http_client)
            return self._sender

    def blocking_sender(self) -> AnySender:
        """Return the sender of the service's own requests: lists of models, and health checks.

        A caller that has given only an asynchronous client has it used where an event loop waits for the answer.
        """
        if self._http_client is None and self._async_http_client is not None and (loop := _waiting_loop()) is not None:
            from llmroute.transport.async_client import AsyncSender
            from llmroute.transport.loop_sender import LoopSender

            return LoopSender(AsyncSender(self._async_http_client), loop)
        return self.sender()

    def threads(self) -> Threads:
        """Return the threads for calls that would block an event loop."""
        with self._lock:
            if self._threads is None:
                from llmroute.execution.concurrency.threads import Threads

                self._threads = Threads()
            return self._threads

    def async_sender(self) -> AsyncSender:
        """Return the sender of asynchronous callers in the running loop."""
        with self._lock:
            if self._async_senders is None:
                from llmroute.execution.concurrency.per_loop import PerLoop
                from llmroute.transport.async_client import AsyncSender

                self._async_senders = PerLoop(lambda: AsyncSender(self._async_http_client), AsyncSender.close)
        return self._async_senders.get()

    def async_writer(self) -> GroupCommitWriter:
        """Return the ledger writer of asynchronous callers in the running loop."""
        with self._lock:
            if self._async_writers is None:
                from llmroute.execution.accounting.group_commit import GroupCommitWriter
                from llmroute.execution.concurrency.per_loop import PerLoop

                threads = self.threads()
                self._async_writers = PerLoop(lambda: GroupCommitWriter(self._writer, threads))
        return self._async_writers.get()

    def ledger(self) -> LedgerPort:
        """Return the ledger, opened if necessary; it may block.

        Raises:
            LedgerError: it cannot be opened.
        """
        return self._writer.access.ledger()

    @property
    def ledger_path(self) -> Path:
        """The path that names the ledger."""
        return self._writer.access.path

    def close(self) -> None:
        """Close the resources of blocking calls; `require_open` raises from now on."""
        self._is_closed = True
        self._close_sender()
        self._release()

    def _close_sender(self) -> None:
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _release(self) -> None:
        """Close the resources, but not connections that blocking requests use."""
        self._is_released = True
        if None not in self._in_flight:
            self._close_sender()
        if self._threads is not None:
            self._threads.close()
        self._writer.access.close()

    def leave(self) -> None:
        """As `close`, in a process that ends now: resources that the operating system closes stay open."""
        self._writer.access.leave()
        # An object that is garbage before the process ends would be closed with a warning.
        _left_open.append(self)

    async def aclose(self) -> None:
        """Close the resources of the running event loop, and the others if no other loop is in use.

        `require_open` raises in this loop from now on.
        """
        import asyncio

        self._closed_loops.add(asyncio.get_running_loop())
        if self._async_senders is not None:
            await self._async_senders.close()
        if self._async_senders is None or not self._async_senders.every():
            self._release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    # A program that has not imported it has no loop.
    loaded = sys.modules.get("asyncio")
    try:
        return None if loaded is None else loaded.get_running_loop()
    except RuntimeError:
        return None


def _waiting_loop() -> asyncio.AbstractEventLoop | None:
    from llmroute.execution.concurrency.threads import waiting_loop

    return waiting_loop.get()
