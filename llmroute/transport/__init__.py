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

from llmroute.errors import BadRequestError, ProviderTimeoutError, UnreachableError
from llmroute.transport.body import Body
from llmroute.transport.ways import Pools, address
from llmroute.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from llmroute.errors import AttemptError
    from llmroute.types import HTTPRequest

WRITE_BYTES = 64 * 1024
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
        backend: Any = _TimedBackend(httpcore.SyncBackend(), self._reading)
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

    def read(self, within_s: float) -> bytes:
        """Return the next bytes of the body, empty at its end.

        Raises:
            ProviderTimeoutError: nothing came within `within_s` seconds.
            UnreachableError: the connection broke.
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is encoded otherwise than was asked for.
        """
        self._reading.until = time.monotonic() + within_s
        try:
            while raw := next(self._pieces, b""):
                if piece := self._body.take(raw):
                    return piece
        except FAULTS as fault:
            raise _translated(fault, within_s, within_s) from fault
        return self._body.end()

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
                response = await self._pools.find(built.url).handle_async_request(built)
        except FAULTS as fault:
            raise _translated(fault, connect_s, connect_s + answer_s) from fault
        return AsyncExchange(response)

    def _new_pool(self, context: ssl.SSLContext | None, proxy: httpcore.Proxy | None) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            context, proxy, max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEPT_S
        )

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.all():
            await pool.aclose()


class AsyncExchange:
    """As `Exchange`, for the event loop."""

    def __init__(self, response: httpcore.Response) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._response = response
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
        await self._response.aclose()


def _build(request: HTTPRequest, timeouts_s: Mapping[str, float]) -> httpcore.Request:
    headers = {"host": urlsplit(request.url).netloc, **_HEADERS, **request.headers}
    if request.body is not None:
        headers["content-length"] = str(len(request.body))
    return httpcore.Request(
        request.method,
        address(request.url),
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


class _TimedBackend:
    """Opens connections whose reads end at the moment that the reading thread has set."""

    def __init__(self, inner: Any, reading: threading.local) -> None:
        self._inner = inner
        self._reading = reading

    def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> _TimedStream:
        # A host as text would be looked up by way of a codec that takes 2 ms to import; it is ASCII already.
        return _TimedStream(self._inner.connect_tcp(host.encode(), *args, **kwargs), self._reading)


class _TimedStream:
    def __init__(self, inner: Any, reading: threading.local) -> None:
        self._inner = inner
        self._reading = reading

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        piece: bytes = self._inner.read(max_bytes, self._left_s())
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        # In pieces, for each has the whole time-out, and whoever takes a long prompt slowly must not have it often.
        for start in range(0, len(buffer), WRITE_BYTES):
            self._inner.write(buffer[start : start + WRITE_BYTES], self._left_s())

    def _left_s(self) -> float:
        left_s: float = self._reading.until - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("")
        return left_s

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> _TimedStream:
        return _TimedStream(self._inner.start_tls(*args, **kwargs), self._reading)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
