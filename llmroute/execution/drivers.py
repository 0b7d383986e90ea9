"""The two drivers: they perform what the flow asks for, one by blocking, one by awaiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llmroute.execution.operations import Begin, Blocking, Close, Done, Emit, Open, Operation, Read, Settle, Sleep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.threads import Threads
    from llmroute.transport.async_client import AsyncExchange, AsyncSender
    from llmroute.transport.client import Exchange, Sender
    from llmroute.types import LLMResponse


class AsyncLedgerWriter(Protocol):
    """What writes attempts into the ledger for those who await."""

    async def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending; return the longest answer that a budget leaves it."""

    async def settle(self, settlement: Settle) -> None:
        """Write how an attempt ended and what it taught."""


def drive(
    flow: Generator[Operation, Any, None],
    sender: Callable[[], Sender],
    sleep: Callable[[float], None],
    books: LedgerWriter,
) -> Generator[str | LLMResponse, None, None]:
    """Drive a flow by blocking: yield the pieces of a streamed answer, then the whole response.

    The response comes before it is settled in the ledger: exhaust the iterator, or close it.
    """
    exchange: Exchange | None = None
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(text):
                        yield text
                    case Done(response):
                        yield response
                    case Read(within_s):
                        assert exchange is not None
                        result = exchange.read(within_s)
                    case Open(request, connect_s, answer_s, progress):
                        result = exchange = sender().open(
                            request, connect_s=connect_s, answer_s=answer_s, progress=progress
                        )
                    case Close():
                        _close(exchange)
                        exchange = None
                    case Begin():
                        result = books.begin(operation)
                    case Settle():
                        books.settle(operation)
                    case Blocking(call):
                        result = call()
                    case Sleep(seconds):
                        sleep(seconds)
            except BaseException as error:  # noqa: BLE001 (the flow decides, and raises again what it cannot mend)
                ended, exchange = exchange, None
                _close(ended)
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration:
        return
    finally:
        try:
            _close(exchange)
        finally:
            # Settles the attempt when a signal came between two operations.
            flow.close()


def _close(exchange: Exchange | None) -> None:
    if exchange is not None:
        exchange.close()


async def drive_async(
    flow: Generator[Operation, Any, None],
    sender: AsyncSender,
    sleep: Callable[[float], Awaitable[None]],
    books: AsyncLedgerWriter,
    threads: Threads,
) -> AsyncGenerator[str | LLMResponse]:
    """As `drive`, by awaiting; what blocks is done in a thread."""
    exchange: AsyncExchange | None = None
    try:
        operation = next(flow)
        while True:
            result: Any = None
            try:
                match operation:
                    case Emit(text):
                        yield text
                    case Done(response):
                        yield response
                    case Read(within_s):
                        assert exchange is not None
                        result = await exchange.read(within_s)
                    case Open(request, connect_s, answer_s, progress):
                        result = exchange = await sender.open(
                            request, connect_s=connect_s, answer_s=answer_s, progress=progress
                        )
                    case Close():
                        await _close_async(exchange)
                        exchange = None
                    case Begin():
                        result = await books.begin(operation)
                    case Settle():
                        await books.settle(operation)
                    case Blocking(call):
                        result = await threads.run(call)
                    case Sleep(seconds):
                        await sleep(seconds)
            except BaseException as error:  # noqa: BLE001 (as above)
                ended, exchange = exchange, None
                await _close_async(ended)
                operation = flow.throw(error)
            else:
                operation = flow.send(result)
    except StopIteration:
        return
    finally:
        try:
            await _close_async(exchange)
        finally:
            flow.close()


async def _close_async(exchange: AsyncExchange | None) -> None:
    if exchange is not None:
        await exchange.close()
