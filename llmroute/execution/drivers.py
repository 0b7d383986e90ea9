"""The blocking and the asynchronous driver, which perform the operations of a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llmroute.execution.flow import RequestFlow
from llmroute.execution.operations import (
    Begin,
    Blocking,
    Close,
    Done,
    Emit,
    Judge,
    Open,
    Operation,
    Read,
    Settle,
    Sleep,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.concurrency.threads import Threads
    from llmroute.execution.request import RequestContext
    from llmroute.transport.async_client import AsyncExchange, AsyncSender
    from llmroute.transport.client import Exchange, Sender
    from llmroute.types import LLMResponse


class AsyncLedgerWriter(Protocol):
    """Writes attempts to the ledger without blocking the event loop."""

    async def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending; return the completion limit that a budget sets, None without one."""

    async def settle(self, settlement: Settle) -> None:
        """Write the end of an attempt and its observation."""

    def settle_interrupted(self, settlement: Settle) -> None:
        """As `settle`, for an attempt whose task is cancelled, which cannot await."""


def drive(
    call: RequestContext, sender: Callable[[], Sender], sleep: Callable[[float], None], writer: LedgerWriter
) -> Generator[str | LLMResponse, None, None]:
    """Run a request by blocking: yield the chunks of a streamed answer, then the complete response.

    The response comes before it is settled in the ledger: exhaust the iterator, or close it.
    """
    driver = _Driver(sender, sleep, writer)
    flow = RequestFlow(call._replace(is_closed=driver.is_closed), writer.settle_interrupted).run()
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(output) | Done(output):
                        yield output
                    case _:
                        result = driver.perform(operation)
            except BaseException as error:  # noqa: BLE001 (the flow decides, and raises again what it cannot mend)
                driver.close()
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration:
        return
    finally:
        try:
            driver.close()
        finally:
            # Settles the attempt when a signal came between two operations.
            flow.close()


class _Driver:
    """Performs operations by blocking, all with one sender; holds the exchange that is open."""

    def __init__(self, sender: Callable[[], Sender], sleep: Callable[[float], None], writer: LedgerWriter) -> None:
        self._new_sender = sender
        self._sender: Sender | None = None
        self._sleep = sleep
        self._writer = writer
        self._exchange: Exchange | None = None

    def perform(self, operation: Operation) -> Any:
        """Perform an operation and return its result."""
        match operation:
            case Read(within_s):
                assert self._exchange is not None
                return self._exchange.read(within_s)
            case Open(request, connect_s, answer_s, progress):
                self._sender = self._sender or self._new_sender()
                self._exchange = self._sender.open(request, connect_s=connect_s, answer_s=answer_s, progress=progress)
                return self._exchange
            case Close():
                self.close()
            case Begin():
                return self._writer.begin(operation)
            case Settle():
                self._writer.settle(operation)
            case Blocking(call):
                return call()
            case Judge(check, response):
                from llmroute.execution.answer_check import verdict

                return verdict(check, response)
            case Sleep(seconds):
                self._sleep(seconds)
        return None

    def is_closed(self) -> bool:
        """Whether the sender was closed."""
        return self._sender is not None and self._sender.is_closed

    def close(self) -> None:
        """Close the open exchange."""
        ended, self._exchange = self._exchange, None
        if ended is not None:
            ended.close()


async def drive_async(
    call: RequestContext,
    sender: AsyncSender,
    sleep: Callable[[float], Awaitable[None]],
    writer: AsyncLedgerWriter,
    threads: Threads,
) -> AsyncGenerator[str | LLMResponse]:
    """As `drive`, by awaiting; what blocks is done in a thread."""
    driver = _AsyncDriver(sender, sleep, writer, threads)
    flow = RequestFlow(call._replace(is_closed=lambda: sender.is_closed), writer.settle_interrupted).run()
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(output) | Done(output):
                        yield output
                    case _:
                        result = await driver.perform(operation)
            except BaseException as error:  # noqa: BLE001 (as above)
                await driver.close()
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration:
        return
    finally:
        try:
            await driver.close()
        finally:
            flow.close()


class _AsyncDriver:
    """As `_Driver`, by awaiting."""

    def __init__(
        self,
        sender: AsyncSender,
        sleep: Callable[[float], Awaitable[None]],
        writer: AsyncLedgerWriter,
        threads: Threads,
    ) -> None:
        self._sender = sender
        self._sleep = sleep
        self._writer = writer
        self._threads = threads
        self._exchange: AsyncExchange | None = None

    async def perform(self, operation: Operation) -> Any:
        match operation:
            case Read(within_s):
                assert self._exchange is not None
                return await self._exchange.read(within_s)
            case Open(request, connect_s, answer_s, progress):
                self._exchange = await self._sender.open(
                    request, connect_s=connect_s, answer_s=answer_s, progress=progress
                )
                return self._exchange
            case Close():
                await self.close()
            case Begin():
                return await self._writer.begin(operation)
            case Settle():
                await self._writer.settle(operation)
            case Blocking(call):
                return await self._threads.run(call)
            case Judge(check, response):
                from llmroute.execution.answer_check import verdict_async

                return await verdict_async(check, response)
            case Sleep(seconds):
                await self._sleep(seconds)
        return None

    async def close(self) -> None:
        ended, self._exchange = self._exchange, None
        if ended is not None:
            await ended.close()
