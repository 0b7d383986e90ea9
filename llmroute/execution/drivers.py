"""The two drivers: they perform what the flow asks for, one by blocking, one by awaiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llmroute.execution.flow import run
from llmroute.execution.operations import Begin, Blocking, Close, Done, Emit, Open, Operation, Read, Settle, Sleep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.request import RequestContext
    from llmroute.execution.threads import Threads
    from llmroute.transport.async_client import AsyncExchange, AsyncSender
    from llmroute.transport.client import Exchange, Sender
    from llmroute.types import LLMResponse


class AsyncLedgerWriter(Protocol):
    """Writes attempts into the ledger for asynchronous callers."""

    async def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending; return the longest answer that a budget leaves it."""

    async def settle(self, settlement: Settle) -> None:
        """Write how an attempt ended and what it taught."""

    def settle_interrupted(self, settlement: Settle) -> None:
        """As `settle`, for an attempt whose task is cancelled, which cannot await."""


def drive(
    call: RequestContext, sender: Callable[[], Sender], sleep: Callable[[float], None], books: LedgerWriter
) -> Generator[str | LLMResponse, None, None]:
    """Drive the flow of a call by blocking: yield the pieces of a streamed answer, then the whole response.

    The response comes before it is settled in the ledger: exhaust the iterator, or close it.
    """
    flow, driver = run(call, books.settle_interrupted), _Driver(sender, sleep, books)
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(told) | Done(told):
                        yield told
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
    """Performs operations by blocking; holds the exchange that is open."""

    def __init__(self, sender: Callable[[], Sender], sleep: Callable[[float], None], books: LedgerWriter) -> None:
        self._sender = sender
        self._sleep = sleep
        self._books = books
        self._exchange: Exchange | None = None

    def perform(self, operation: Operation) -> Any:
        """Do what the flow asks for, and return what it is answered with."""
        match operation:
            case Read(within_s):
                assert self._exchange is not None
                return self._exchange.read(within_s)
            case Open(request, connect_s, answer_s, progress):
                sender = self._sender()
                self._exchange = sender.open(request, connect_s=connect_s, answer_s=answer_s, progress=progress)
                return self._exchange
            case Close():
                self.close()
            case Begin():
                return self._books.begin(operation)
            case Settle():
                self._books.settle(operation)
            case Blocking(call):
                return call()
            case Sleep(seconds):
                self._sleep(seconds)
        return None

    def close(self) -> None:
        """Release the open exchange."""
        ended, self._exchange = self._exchange, None
        if ended is not None:
            ended.close()


async def drive_async(
    call: RequestContext,
    sender: AsyncSender,
    sleep: Callable[[float], Awaitable[None]],
    books: AsyncLedgerWriter,
    threads: Threads,
) -> AsyncGenerator[str | LLMResponse]:
    """As `drive`, by awaiting; what blocks is done in a thread."""
    flow, driver = run(call, books.settle_interrupted), _AsyncDriver(sender, sleep, books, threads)
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(told) | Done(told):
                        yield told
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
        self, sender: AsyncSender, sleep: Callable[[float], Awaitable[None]], books: AsyncLedgerWriter, threads: Threads
    ) -> None:
        self._sender = sender
        self._sleep = sleep
        self._books = books
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
                return await self._books.begin(operation)
            case Settle():
                await self._books.settle(operation)
            case Blocking(call):
                return await self._threads.run(call)
            case Sleep(seconds):
                await self._sleep(seconds)
        return None

    async def close(self) -> None:
        ended, self._exchange = self._exchange, None
        if ended is not None:
            await ended.close()
