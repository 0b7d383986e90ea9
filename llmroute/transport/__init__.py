"""Bytes to and from providers: a synchronous and an asynchronous sender over the same wire objects.

The only importer of httpcore, the engine of httpx: what httpx adds to it (cookies, redirects, content types) is of no
use here, and takes twice as long to import.  No retries, no redirects: what to do next is decided elsewhere.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore

from llmroute.errors import BadOutputError, BadRequestError, ProviderTimeoutError, UnreachableError
from llmroute.transport.body import Body
from llmroute.transport.timed import TimedBackend
from llmroute.transport.ways import Pools, address
from llmroute.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from llmroute.errors import AttemptError
    from llmroute.transport.kept import KeptConnections
    from llmroute.transport.timed import TimedStream
    from llmroute.types import HTTPRequest

# When so much is left of what came, the next chunk, or a part of it, is among it.
SURELY_MORE_BYTES = 64
KEPT_S = 5.0
FAULTS = (
    httpcore.TimeoutException,
    TimeoutError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    ValueError,
)
_HEADERS = {"user-agent": f"llmroute/{__version__}", "accept": "*/*", "accept-encoding": "identity"}


class Sender:
    """Sends requests from the calling thread; safe to share between threads."""

    def __init__(self) -> None:
        self._pools = Pools(self._new_pool)
        self._reading = threading.local()

    def open(self, request: HTTPRequest, *, connect_s: float, answer_s: float) -> Exchange:
        """Send a request and return when the head of the answer is there.

        Raises:
            ProviderTimeoutError: no connection within `connect_s`, or no head within `answer_s` more.
            UnreachableError: DNS, refused, reset, TLS.
        """
        self._reading.until = time.monotonic() + connect_s + answer_s
        try:
            built = _build(request, {"connect": connect_s, "pool": connect_s + answer_s})
            response = self._pools.find(built.url).handle_request(built)
        except FAULTS as fault:
            raise _translated(fault, connect_s, connect_s + answer_s) from fault
        return Exchange(response, self._reading)

    def _new_pool(self, context: ssl.SSLContext | None, proxy: httpcore.Proxy | None) -> httpcore.ConnectionPool:
        backend: Any = TimedBackend(httpcore.SyncBackend(), self._reading)
        return httpcore.ConnectionPool(
            context, proxy, max_connections=100, keepalive_expiry=KEPT_S, network_backend=backend
        )

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.all():
            pool.close()


class Exchange:
    """An answer of which the head is there: `status`, `headers` (lower-case names), and a body to be read."""

    def __init__(self, response: httpcore.Response, reading: threading.local) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._response = response
        self._reading = reading
        self._pieces = response.iter_stream()
        self._body = Body(self.headers)
        self._stream: TimedStream = response.extensions["network_stream"]
        # What came with the head is not counted.
        self._stream.unread = 0
        self._fault: Exception | None = None

    def read(self, within_s: float) -> bytes:
        """Return the next bytes of the body, all that have come; empty at its end.

        Raises:
            ProviderTimeoutError: nothing came within `within_s` seconds.
            UnreachableError: the connection broke.
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is encoded otherwise than was asked for.
        """
        self._reading.until = time.monotonic() + within_s
        try:
            if self._fault is not None:
                raise self._fault
            while raw := next(self._pieces, b""):
                if piece := self._body.take(raw):
                    return self._with_rest(piece, len(raw))
        except FAULTS as fault:
            raise _translated(fault, within_s, within_s) from fault
        return self._body.end()

    def _with_rest(self, piece: bytes, size: int) -> bytes:
        """Add to a piece what the same look at the socket has brought: it is handed out chunk by chunk.

        A fault in it is raised when it is its turn.
        """
        stream = self._stream
        stream.unread -= _framed(size)
        if stream.unread < SURELY_MORE_BYTES:
            return piece
        pieces = [piece]
        try:
            while stream.unread >= SURELY_MORE_BYTES and (raw := next(self._pieces, b"")):
                stream.unread -= _framed(len(raw))
                pieces.append(self._body.take(raw))
        except (*FAULTS, BadOutputError) as fault:
            self._fault = fault
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of the connection; a body that is not at its end closes it."""
        self._response.close()


class AsyncSender:
    """Sends requests from one event loop."""

    def __init__(self) -> None:
        self._pools = Pools(self._new_pool)

    async def open(self, request: HTTPRequest, *, connect_s: float, answer_s: float) -> AsyncExchange:
        """As `Sender.open`."""
        import asyncio

        try:
            built = _build(request, {"connect": connect_s})
            async with asyncio.timeout(connect_s + answer_s):
                kept = self._pools.find(built.url)
                response, connection = await kept.send(built)
        except FAULTS as fault:
            raise _translated(fault, connect_s, connect_s + answer_s) from fault
        return AsyncExchange(response, lambda: kept.give_back(built.url.origin, connection))

    def _new_pool(self, context: ssl.SSLContext | None, proxy: httpcore.Proxy | None) -> KeptConnections:
        from llmroute.transport.kept import KeptConnections
        from llmroute.transport.streams import AsyncioBackend

        backend = AsyncioBackend()
        return KeptConnections(
            httpcore.AsyncConnectionPool(context, proxy, keepalive_expiry=KEPT_S, network_backend=backend)
        )

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.all():
            await pool.aclose()


class AsyncExchange:
    """As `Exchange`, for the event loop."""

    def __init__(self, response: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._response = response
        self._give_back = give_back
        self._pieces: AsyncIterator[bytes] = response.aiter_stream()
        self._body = Body(self.headers)

    async def read(self, within_s: float) -> bytes:
        """As `Exchange.read`."""
        import asyncio

        try:
            async with asyncio.timeout(within_s):
                while raw := await anext(self._pieces, b""):
                    if piece := self._body.take(raw):
                        return piece
        except FAULTS as fault:
            raise _translated(fault, within_s, within_s) from fault
        return self._body.end()

    async def close(self) -> None:
        """As `Exchange.close`."""
        try:
            await self._response.aclose()
        finally:
            await self._give_back()


def _framed(size: int) -> int:
    """Return how many bytes a chunk takes on the wire: its size in hexadecimal comes first, and two line ends."""
    return size + (size.bit_length() + 3) // 4 + 4


def _build(request: HTTPRequest, timeouts_s: Mapping[str, float]) -> httpcore.Request:
    headers = {"host": urlsplit(request.url).netloc, **_HEADERS, **request.headers}
    if request.body is not None:
        headers["content-length"] = str(len(request.body))
    url = address(request.url)
    if url.scheme not in (b"http", b"https"):
        raise httpcore.UnsupportedProtocol(f"{url.scheme.decode()}:// is neither http:// nor https://")
    return httpcore.Request(
        request.method,
        url,
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()],
        content=request.body,
        extensions={"timeout": timeouts_s},
    )


def _headers(response: httpcore.Response) -> dict[str, str]:
    """Return the headers by their lower-case names; one that comes twice is joined by commas."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _translated(fault: Exception, connect_s: float, answer_s: float) -> AttemptError:
    """Translate one of FAULTS: this is the boundary at which the errors of httpcore end."""
    match fault:
        case httpcore.ConnectTimeout():
            return ProviderTimeoutError(f"no connection within {connect_s:.3g} s")
        case httpcore.TimeoutException() | TimeoutError():
            return ProviderTimeoutError(f"nothing came for {answer_s:.3g} s")
        case httpcore.ConnectError():
            return UnreachableError(f"no connection: {_told(fault)}")
        case httpcore.NetworkError() | httpcore.RemoteProtocolError():
            return _broken_off(fault)
        case httpcore.ProxyError():
            return UnreachableError(f"the proxy refused: {_told(fault)}")
    return BadRequestError(f"the request cannot be sent: {_told(fault)}")


def _broken_off(error: Exception) -> UnreachableError:
    translated = UnreachableError(f"the connection broke: {_told(error)}")
    translated.broken_off = True
    return translated


def _told(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:200]
