"""Our own clients of httpx: made when the first address of their kind is called.

Addresses of this machine are called directly; for all others httpx reads HTTPS_PROXY, NO_PROXY and their like.
"""

from __future__ import annotations

import threading
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.request import getproxies

import httpx

from llmroute.addresses import is_loopback_host
from llmroute.after_fork import leave_to_parent, start_anew_in_children
from llmroute.errors import UnreachableError
from llmroute.transport.trust import no_tls_context, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Client = TypeVar("Client", bound="httpx.Client | httpx.AsyncClient")

KEEPALIVE_S = 5.0
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S)


class OwnClients(Generic[Client]):
    """Clients by what they must know: whether TLS is spoken, and whether the environment may name a proxy."""

    def __init__(self, new: Callable[..., Client]) -> None:
        self._new: Callable[..., Client] = new
        self._clients: dict[tuple[bool, bool], Client] = {}
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Forget the clients: a child that used its parent's connections would get its parent's answers."""
        leave_to_parent(self._clients)
        self._clients = {}
        self._lock = threading.Lock()

    def find(self, url: str) -> Client:
        """Return the client for an address.

        Raises:
            httpx.InvalidURL: it is none.
            UnreachableError: the proxy, or the certificates, that the environment names cannot be used.
        """
        parsed = httpx.URL(url)
        kind = parsed.scheme == "https", not is_loopback_host(parsed.host)
        with self._lock:
            if kind not in self._clients:
                self._clients[kind] = self._made(*kind)
            return self._clients[kind]

    def _made(self, secure: bool, proxied: bool) -> Client:
        verify = tls_context() if secure else no_tls_context()
        try:
            return self._new(verify=verify, trust_env=proxied, limits=_LIMITS, cookies=_no_cookies())
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            # The error would tell the address, and with it a password.
            raise UnreachableError(
                "the proxy that the environment names cannot be used",
                hint="name an http proxy in HTTPS_PROXY, or unset ALL_PROXY",
            ) from error

    def forget(self) -> list[Client]:
        """Return every client that was made; new ones are made for what is sent after that."""
        with self._lock:
            clients, self._clients = [*self._clients.values()], {}
        return clients


def new_async_client(
    *, verify: ssl.SSLContext, trust_env: bool, limits: httpx.Limits, cookies: CookieJar
) -> httpx.AsyncClient:
    """Return a client on aiohttp where its transport is installed and no proxy is named, else one on httpcore.

    The transport on aiohttp carries twice as many requests at once, and reads no proxy from the environment by itself.
    """
    transport = None
    if find_spec("httpx_aiohttp") is not None and not (trust_env and getproxies()):
        from llmroute.transport.aiohttp_transport import new_transport

        transport = new_transport(verify, limits)
    return httpx.AsyncClient(verify=verify, trust_env=trust_env, limits=limits, cookies=cookies, transport=transport)


def _no_cookies() -> CookieJar:
    """Return a jar that takes none: a provider's cookies have no use here."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
