"""Bytes to and from providers: a synchronous and an asynchronous sender over the same wire objects.

The only importer of httpx.  No retries, no redirects, no cookies: what to do next is decided elsewhere.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# httpx imports its own command line, and with it click and rich, wherever those are installed: 45 ms of CPU.
_blocked = sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
import httpx  # noqa: E402

if _blocked is None:
    del sys.modules["httpx._main"]

from llmroute.errors import (  # noqa: E402
    BadOutputError,
    BadRequestError,
    ProviderTimeoutError,
    UnreachableError,
)
from llmroute.version import __version__  # noqa: E402

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Mapping

    from llmroute.types import HTTPRequest

MAX_BODY_BYTES = 64 * 1024 * 1024
WRITE_BYTES = 64 * 1024
_HEADERS = {"user-agent": f"llmroute/{__version__}", "accept-encoding": "identity"}


class Sender:
    """Sends requests from the calling thread; safe to share between threads."""

    def __init__(self) -> None:
        self._clients = _Clients()
        self._reading = threading.local()

    def open(self, request: HTTPRequest, *, connect_s: float, answer_s: float) -> Exchange:
        """Send a request and return when the head of the answer is there.

        Raises:
            ProviderTimeoutError: no connection within `connect_s`, or no head within `answer_s` more.
            UnreachableError: DNS, refused, reset, TLS.
        """
        self._reading.until = time.monotonic() + connect_s + answer_s
        with _translated(connect_s, connect_s + answer_s):
            client = self._clients.find(request.url, self._new_client)
            timeout = httpx.Timeout(connect_s + answer_s, connect=connect_s)
            response = client.send(_build(client, request, timeout), stream=True)
        return Exchange(response, self._reading)

    def _new_client(self, proxy: str | None, verify: ssl.SSLContext | bool) -> httpx.Client:
        with _proxied(proxy):
            transport = httpx.HTTPTransport(verify=verify, proxy=proxy)
        # httpx fixes the time-out of a read when the body begins; ours shrinks with the deadline at each read.
        pool: Any = transport._pool  # noqa: SLF001
        pool._network_backend = _TimedBackend(pool._network_backend, self._reading)  # noqa: SLF001
        return httpx.Client(transport=transport, trust_env=False, headers=_HEADERS)

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.all():
            client.close()


class Exchange:
    """An answer of which the head is there: `status`, `headers` (lower-case names), and a body to be read."""

    def __init__(self, response: httpx.Response, reading: threading.local) -> None:
        self.status = response.status_code
        self.headers = _headers(response)
        self._response = response
        self._reading = reading
        self._pieces = response.iter_raw()
        self._body = _Body(self.headers)

    def read(self, within_s: float) -> bytes:
        """Return the next bytes of the body, empty at its end.

        Raises:
            ProviderTimeoutError: nothing came within `within_s` seconds.
            UnreachableError: the connection broke.
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is encoded otherwise than was asked for.
        """
        self._reading.until = time.monotonic() + within_s
        with _translated(within_s, within_s):
            while raw := next(self._pieces, b""):
                if piece := self._body.take(raw):
                    return piece
            return self._body.end()

    def close(self) -> None:
        """Let go of the connection; a body that is not at its end closes it."""
        self._response.close()


class AsyncSender:
    """Sends requests from one event loop."""

    def __init__(self) -> None:
        self._clients = _Clients()

    async def open(self, request: HTTPRequest, *, connect_s: float, answer_s: float) -> AsyncExchange:
        """As `Sender.open`."""
        import asyncio

        timeout = httpx.Timeout(None, connect=connect_s)
        with _translated(connect_s, connect_s + answer_s):
            client = self._clients.find(request.url, self._new_client)
            async with asyncio.timeout(connect_s + answer_s):
                response = await client.send(_build(client, request, timeout), stream=True)
        return AsyncExchange(response)

    def _new_client(self, proxy: str | None, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        with _proxied(proxy):
            transport = httpx.AsyncHTTPTransport(verify=verify, proxy=proxy, limits=limits)
        return httpx.AsyncClient(transport=transport, trust_env=False, headers=_HEADERS)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.all():
            await client.aclose()


class AsyncExchange:
    """As `Exchange`, for the event loop."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = _headers(response)
        self._response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_raw()
        self._body = _Body(self.headers)

    async def read(self, within_s: float) -> bytes:
        """As `Exchange.read`."""
        import asyncio

        with _translated(within_s, within_s):
            async with asyncio.timeout(within_s):
                while raw := await anext(self._pieces, b""):
                    if piece := self._body.take(raw):
                        return piece
            return self._body.end()

    async def close(self) -> None:
        """As `Exchange.close`."""
        await self._response.aclose()


class _Clients:
    """One client for each way out: plain or TLS, and through which proxy.  A TLS context is made when first needed."""

    def __init__(self) -> None:
        self._by_way: dict[tuple[bool, str | None], Any] = {}
        self._lock = threading.Lock()

    def find(self, url: str, new: Any) -> Any:
        parsed = httpx.URL(url)
        secure = parsed.scheme == "https"
        way = (secure, _proxy(parsed))
        with self._lock:
            if way not in self._by_way:
                self._by_way[way] = new(way[1], httpx.create_ssl_context() if secure else False)
            return self._by_way[way]

    def all(self) -> list[Any]:
        return list(self._by_way.values())


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for an address; never one for this machine itself."""
    from urllib.request import getproxies, proxy_bypass

    from llmroute.addresses import is_loopback_host

    if is_loopback_host(url.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy and not proxy_bypass(url.host) else None


def _build(client: Any, request: HTTPRequest, timeout: httpx.Timeout) -> httpx.Request:
    built: httpx.Request = client.build_request(
        request.method, request.url, headers=request.headers, content=request.body, timeout=timeout
    )
    return built


def _headers(response: httpx.Response) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


class _Body:
    """Counts a body, and undoes the gzip that some servers use unasked; neither may grow without bound."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._encoding = headers.get("content-encoding", "identity").strip().lower()
        self._size = 0
        self._inflater: Any = None
        if self._encoding in ("gzip", "x-gzip", "deflate"):
            import zlib

            self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def take(self, raw: bytes) -> bytes:
        if self._inflater is not None:
            import zlib

            try:
                raw = self._inflater.decompress(raw, MAX_BODY_BYTES + 1 - self._size)
            except zlib.error as error:
                raise BadOutputError(f"the answer is not encoded as its headers say: {error}") from error
        elif self._encoding not in ("", "identity"):
            raise BadOutputError(f"the answer is encoded as {self._encoding[:40]}, which nobody asked for")
        self._size += len(raw)
        if self._size > MAX_BODY_BYTES:
            raise BadOutputError(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
        return raw

    def end(self) -> bytes:
        if self._inflater is not None and self._size and not self._inflater.eof:
            raise BadOutputError("the answer is not encoded as its headers say: it ends too early")
        return b""


@contextmanager
def _translated(connect_s: float, answer_s: float) -> Iterator[None]:
    """Translate what httpx raises: this is the boundary at which its errors end."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ProviderTimeoutError(f"no connection within {connect_s:.3g} s") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise ProviderTimeoutError(f"nothing came for {answer_s:.3g} s") from error
    except httpx.ConnectError as error:
        raise UnreachableError(f"no connection: {_told(error)}") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise _broken_off(error) from error
    except httpx.ProxyError as error:
        raise UnreachableError(f"the proxy refused: {_told(error)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise BadRequestError(f"the request cannot be sent: {_told(error)}") from error


@contextmanager
def _proxied(proxy: str | None) -> Iterator[None]:
    try:
        yield
    except (ImportError, ValueError) as error:
        scheme = (proxy or "").partition("://")[0]
        raise UnreachableError(
            f"the proxy that the environment names cannot be used: {scheme[:20]!r}",
            hint="name an http proxy in HTTPS_PROXY, or unset ALL_PROXY",
        ) from error


def _broken_off(error: httpx.HTTPError) -> UnreachableError:
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

    def connect_tcp(self, *args: Any, **kwargs: Any) -> _TimedStream:
        return _TimedStream(self._inner.connect_tcp(*args, **kwargs), self._reading)


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
            raise httpx.ReadTimeout("")
        return left_s

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> _TimedStream:
        return _TimedStream(self._inner.start_tls(*args, **kwargs), self._reading)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
