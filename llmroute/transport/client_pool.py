"""Our own httpx clients, created at the first request to an address of their kind.

Addresses of this machine are called directly; for all others httpx reads HTTPS_PROXY, NO_PROXY and similar variables.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.request import getproxies
from weakref import WeakSet

import httpx

from llmroute.after_fork import leave_to_parent, start_anew_in_children
from llmroute.errors import BadRequestError, UnreachableError
from llmroute.transport.certificates import no_tls_context, tls_context
from llmroute.transport.errors import CLOSED_MEANWHILE
from llmroute.transport.network.loopback import AsyncLoopbackTransport, LoopbackTransport
from llmroute.urls import is_loopback_host

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Client = TypeVar("Client", bound="httpx.Client | httpx.AsyncClient")

KEEPALIVE_S = 5.0
MOST_AT_ONCE = 8
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S)


class PooledClient(Generic[Client]):
    """A client, the number of its exchanges in flight and, for a blocking one, its connections; thread-safe."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._in_flight = 0
        self._left_s = 0.0
        self._is_retired = False
        # Network streams of httpcore.
        self._connections: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Start an exchange, unless the maximum number is in flight."""
        with self._lock:
            free = self._in_flight < MOST_AT_ONCE
            self._in_flight += free
        return free

    def leave(self) -> bool:
        """Record the end of an exchange; return whether the client has to be closed, as it was retired meanwhile."""
        with self._lock:
            self._in_flight -= 1
            self._left_s = time.monotonic()
            return self._is_retired and not self._in_flight

    def connected(self, connection: Any) -> bool:
        """Record a new connection; return whether it has to be shut down, as the client was retired meanwhile."""
        with self._lock:
            self._connections.add(connection)
            return self._is_retired

    def retire(self) -> list[Any] | None:
        """Return the connections to shut down, so that exchanges in flight end and the last of them closes the client.

        Without an exchange in flight, return None: the client is to be closed now.
        """
        with self._lock:
            self._is_retired = True
            return [*self._connections] if self._in_flight else None

    def is_idle(self) -> bool:
        """Whether it has been idle for the keep-alive time of its connections."""
        with self._lock:
            return not self._in_flight and time.monotonic() - self._left_s > KEEPALIVE_S


class OwnClients(Generic[Client]):
    """Clients by their settings: with or without TLS, with or without the proxies of the environment.

    httpcore scans all connections of a client at every request and every response; so each client serves few requests
    at once, and a new client is created when all are full.
    """

    def __init__(self, new: Callable[..., Client]) -> None:
        self._new: Callable[..., Client] = new
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._lanes: dict[tuple[bool, bool], list[PooledClient[Client]]] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Drop the clients: a child that used its parent's connections would receive its parent's responses."""
        leave_to_parent(self._lanes)
        self._lanes = {}
        self._lock = threading.Lock()

    def enter(self, url: str) -> PooledClient[Client]:
        """Return the client for one exchange with an address.

        Raises:
            httpx.InvalidURL: the address is not a URL.
            BadRequestError: the clients were closed.
            UnreachableError: the proxy, or the certificates, that the environment names cannot be used.
        """
        parsed = httpx.URL(url)
        kind = parsed.scheme == "https", not is_loopback_host(parsed.host)
        with self._lock:
            if self._is_closed:
                raise BadRequestError(CLOSED_MEANWHILE)
            lanes = self._lanes.setdefault(kind, [])
            if (free := next((lane for lane in lanes if lane.enter()), None)) is not None:
                return free
            lane = PooledClient(self._made(*kind))
            lane.enter()
            lanes.append(lane)
            return lane

    def idle(self) -> list[Client]:
        """Remove clients that were idle for long, except one of each kind, and return them to be closed.

        httpcore closes a connection that the server has closed only when its client is used.
        """
        with self._lock:
            given_up = [(lanes, lane) for lanes in self._lanes.values() for lane in lanes[1:] if lane.is_idle()]
            for lanes, lane in given_up:
                lanes.remove(lane)
        return [lane.client for _, lane in given_up]

    def _made(self, secure: bool, proxied: bool) -> Client:
        if secure not in self._contexts:
            self._contexts[secure] = tls_context() if secure else no_tls_context()
        try:
            return self._new(verify=self._contexts[secure], trust_env=proxied, limits=_LIMITS, cookies=_no_cookies())
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            # The error would show the address, which may contain a password.
            raise UnreachableError(
                "the proxy that the environment names cannot be used",
                hint="name an http proxy in HTTPS_PROXY, or unset ALL_PROXY",
            ) from error

    def close(self) -> list[PooledClient[Client]]:
        """Return all clients, to be closed; no later request enters one."""
        with self._lock:
            self._is_closed = True
            lanes, self._lanes = self._lanes, {}
        return [lane for kind in lanes.values() for lane in kind]


def new_client(*, verify: ssl.SSLContext, trust_env: bool, limits: httpx.Limits, cookies: CookieJar) -> httpx.Client:
    """Create a client; one for this machine ignores the proxies of the environment."""
    transport = None if trust_env else LoopbackTransport(verify, limits)
    return httpx.Client(verify=verify, trust_env=trust_env, limits=limits, cookies=cookies, transport=transport)


def new_async_client(
    *, verify: ssl.SSLContext, trust_env: bool, limits: httpx.Limits, cookies: CookieJar
) -> httpx.AsyncClient:
    """Create a client on aiohttp where its transport is installed and no proxy is set, else one on httpcore.

    The transport on aiohttp carries twice as many requests at once, and reads no proxy from the environment by itself.
    """
    transport: httpx.AsyncBaseTransport | None = None
    if find_spec("httpx_aiohttp") is not None and not (trust_env and _names_proxy()):
        # A package that cannot be imported counts as missing.
        with suppress(ImportError):
            from llmroute.transport.aiohttp_transport import new_transport

            transport = new_transport(verify, limits)
    if transport is None and not trust_env:
        transport = AsyncLoopbackTransport(verify, limits)
    elif transport is None and not _names_proxy():
        from llmroute.transport.network.dns import AsyncResolvingTransport

        transport = AsyncResolvingTransport(verify, limits)
    return httpx.AsyncClient(verify=verify, trust_env=trust_env, limits=limits, cookies=cookies, transport=transport)


def _names_proxy() -> bool:
    """Whether the environment, or the system, names a proxy."""
    return bool(getproxies().keys() - {"no"})


def _no_cookies() -> CookieJar:
    """Return a jar that rejects all cookies; no provider needs them."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
