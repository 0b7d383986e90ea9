"""Our own clients of httpx: made when the first address of their kind is called.

Addresses of this machine are called directly; for all others httpx reads HTTPS_PROXY, NO_PROXY and their like.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.request import getproxies

import httpx

from llmroute.after_fork import leave_to_parent, start_anew_in_children
from llmroute.errors import UnreachableError
from llmroute.transport.certificates import no_tls_context, tls_context
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
    """A client and the number of its exchanges in flight; thread-safe."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._in_flight = 0
        self._left_s = 0.0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Begin an exchange, unless the maximum number is in flight."""
        with self._lock:
            free = self._in_flight < MOST_AT_ONCE
            self._in_flight += free
        return free

    def leave(self) -> None:
        """Say that an exchange has ended."""
        with self._lock:
            self._in_flight -= 1
            self._left_s = time.monotonic()

    def is_idle(self) -> bool:
        """Whether it has had nothing to do for as long as its connections are kept."""
        with self._lock:
            return not self._in_flight and time.monotonic() - self._left_s > KEEPALIVE_S


class OwnClients(Generic[Client]):
    """Clients by what they must know: whether TLS is spoken, and whether the environment may name a proxy.

    httpcore looks at every connection of a client for every request and every response; so each client gets few
    requests at once, and a new one is made where all have that many.
    """

    def __init__(self, new: Callable[..., Client]) -> None:
        self._new: Callable[..., Client] = new
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._lanes: dict[tuple[bool, bool], list[PooledClient[Client]]] = {}
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Forget the clients: a child that used its parent's connections would get its parent's answers."""
        leave_to_parent(self._lanes)
        self._lanes = {}
        self._lock = threading.Lock()

    def enter(self, url: str) -> PooledClient[Client]:
        """Return the client for one exchange with an address.

        Raises:
            httpx.InvalidURL: it is none.
            UnreachableError: the proxy, or the certificates, that the environment names cannot be used.
        """
        parsed = httpx.URL(url)
        kind = parsed.scheme == "https", not is_loopback_host(parsed.host)
        with self._lock:
            lanes = self._lanes.setdefault(kind, [])
            if (free := next((lane for lane in lanes if lane.enter()), None)) is not None:
                return free
            lane = PooledClient(self._made(*kind))
            lane.enter()
            lanes.append(lane)
            return lane

    def idle(self) -> list[Client]:
        """Give up the clients that had nothing to do for long, but one of each kind, and return them to be closed.

        httpcore closes what a server has left only when a client is used.
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
            # The error would tell the address, and with it a password.
            raise UnreachableError(
                "the proxy that the environment names cannot be used",
                hint="name an http proxy in HTTPS_PROXY, or unset ALL_PROXY",
            ) from error

    def forget(self) -> list[Client]:
        """Return every client that was made; new ones are made for what is sent after that."""
        with self._lock:
            lanes, self._lanes = self._lanes, {}
        return [lane.client for kind in lanes.values() for lane in kind]


def new_client(*, verify: ssl.SSLContext, trust_env: bool, limits: httpx.Limits, cookies: CookieJar) -> httpx.Client:
    """Return a client; one that does not trust the environment calls this machine."""
    transport = None if trust_env else LoopbackTransport(verify, limits)
    return httpx.Client(verify=verify, trust_env=trust_env, limits=limits, cookies=cookies, transport=transport)


def new_async_client(
    *, verify: ssl.SSLContext, trust_env: bool, limits: httpx.Limits, cookies: CookieJar
) -> httpx.AsyncClient:
    """Return a client on aiohttp where its transport is installed and no proxy is named, else one on httpcore.

    The transport on aiohttp carries twice as many requests at once, and reads no proxy from the environment by itself.
    """
    transport: httpx.AsyncBaseTransport | None = None
    if find_spec("httpx_aiohttp") is not None and not (trust_env and _names_proxy()):
        # What is installed but cannot be imported is as good as missing.
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
    """Return a jar that takes none: a provider's cookies have no use here."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
