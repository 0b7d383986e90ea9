"""The asynchronous sender."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import httpx

from llmroute.errors import BadOutputError, BadRequestError
from llmroute.transport.caller_client import CallerClient
from llmroute.transport.client_pool import OwnClients, new_async_client
from llmroute.transport.decoding import AsyncWatchedStream, BodyLimits, has_surplus_bytes
from llmroute.transport.errors import CLOSED_MEANWHILE, faults, response_of, translating
from llmroute.transport.log_text import sending
from llmroute.transport.network.loopback import watching
from llmroute.transport.network.send_progress import Progress, in_flight
from llmroute.transport.requests import built, lower_case, without_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmroute.transport.client_pool import PooledClient
    from llmroute.types import HTTPRequest


# A closed connection delivers its remaining bytes at once.
_END_S = 0.1


class AsyncSender:
    """Sends requests from one event loop.

    A `client` of the caller's is used unchanged and never closed; without one, clients are created as needed.
    """

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        """As `Sender`."""
        self._clients: OwnClients[httpx.AsyncClient] | CallerClient[httpx.AsyncClient]
        self.is_closed = False
        self._clients = OwnClients(new_async_client) if client is None else CallerClient(client, httpx.AsyncClient)

    async def open(
        self, request: HTTPRequest, *, connect_s: float, answer_s: float, progress: Progress | None = None
    ) -> AsyncExchange:
        """As `Sender.open`."""
        if self.is_closed:
            raise BadRequestError(CLOSED_MEANWHILE)
        progress = progress or Progress()
        with translating(request, connect_s, connect_s + answer_s, progress):
            for client in self._clients.idle():
                await client.aclose()
            lane = self._clients.enter(request.url)
            # Loads anyio's backend, which httpcore would load within the connect timeout.
            anyio.current_time()
            try:
                response = await self._send(lane.client, request, connect_s, answer_s, progress)
            except BaseException as fault:
                lane.leave()
                if isinstance(self._clients, OwnClients) and not isinstance(fault, faults()):
                    # Cancelled. Our own transports report before they send anything.
                    progress.connect()
                raise
        return AsyncExchange(response, lane, request)

    async def _send(
        self, client: httpx.AsyncClient, request: HTTPRequest, connect_s: float, answer_s: float, progress: Progress
    ) -> httpx.Response:
        # Our own pool has no limit, so a wait for it is a wait for name resolution.
        pool_s = connect_s if isinstance(self._clients, OwnClients) else None
        prepared = built(client, request, connect_s=connect_s, answer_s=answer_s, pool_s=pool_s)
        prepared.extensions["trace"] = watching(prepared.url, progress, lambda: self.is_closed)
        in_flight.set(progress)
        async with asyncio.timeout(connect_s + answer_s):
            progress.enter()
            return await _sent(client, prepared)

    async def close(self) -> None:
        """Close the connections of our own clients; no request can be sent after that."""
        self.is_closed = True
        for lane in self._clients.close():
            await lane.client.aclose()


async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """As `client.sent`."""
    try:
        with sending(request):
            return await client.send(request, stream=True, auth=None, follow_redirects=False)
    except httpx.HTTPStatusError as fault:
        return response_of(fault, request)
    except RuntimeError as error:
        if not client.is_closed:
            raise
        raise BadRequestError(CLOSED_MEANWHILE) from error


class AsyncExchange:
    """As `Exchange`, for the event loop."""

    def __init__(self, response: httpx.Response, lane: PooledClient[httpx.AsyncClient], request: HTTPRequest) -> None:
        self._request = request
        self._lane: PooledClient[httpx.AsyncClient] | None = lane
        self.status = response.status_code
        self.headers = lower_case(response.headers)
        self._response = response
        self._arriving = self._arrive()

    async def _arrive(self) -> AsyncIterator[bytes]:
        """Yield the chunks of the body."""
        response = self._response
        if without_body(response):
            return
        bounds = BodyLimits(response, any_size=self._request.is_download)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)

        async def end() -> None:
            if has_surplus_bytes(stream):
                await response.extensions["network_stream"].aclose()

        response.stream = AsyncWatchedStream(stream, bounds, end)
        async for piece in response.aiter_bytes():
            yield bounds.count(piece)

    async def read(self, within_s: float) -> bytes:
        """As `Exchange.read`."""
        with translating(self._request, within_s, within_s):
            async with asyncio.timeout(within_s):
                return await anext(self._arriving, b"")

    async def close(self) -> None:
        """As `Exchange.close`."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.leave()
        await self._response.aclose()
        await self._end_iterators()

    async def _end_iterators(self) -> None:
        """End each of httpx's iterators over an abandoned body by the error of a closed connection.

        They are nested, and closing the first leaves the others to the garbage collector, which schedules their closing
        on an event loop that may be about to end.
        """
        with suppress(*faults(), BadOutputError, TimeoutError):
            async with asyncio.timeout(_END_S):
                while await anext(self._arriving, b""):
                    pass
