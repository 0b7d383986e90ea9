"""An httpx client that the caller passed in: used unchanged, never closed, bound by our rules on where keys may go."""

from __future__ import annotations

from contextlib import suppress
from typing import Generic
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import httpx

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import BadRequestError, RequestError, UnreachableError
from llmroute.transport.client_pool import Client, PooledClient
from llmroute.urls import is_loopback_host


class CallerClient(Generic[Client]):
    """As `OwnClients`, with one client that is the caller's."""

    def __init__(self, client: Client, kind: type[Client]) -> None:
        """Use the client.

        Raises:
            RequestError: it is of another type.
        """
        if not isinstance(client, kind):
            raise RequestError(f"the HTTP client is a {type(client).__name__}, where httpx.{kind.__name__} is needed")
        self._client = client

    def enter(self, url: str) -> PooledClient[Client]:
        """Return the client for one exchange with an address.

        Raises:
            httpx.InvalidURL: the address is not a URL.
            BadRequestError: the client is closed, or has connections that belong to the parent of this process.
            UnreachableError: it would send a request for this machine through a proxy on another one.
        """
        if self._client.is_closed:
            raise BadRequestError("the HTTP client that was given to the service is closed")
        if self._client in _processes.inherited:
            raise BadRequestError(
                "the HTTP client was in use before this process was forked",
                hint="give the service of each process an HTTP client of its own",
            )
        _refuse_detour(self._client, httpx.URL(url))
        _processes.used.add(self._client)
        return PooledClient(self._client)

    def idle(self) -> list[Client]:
        """Return the idle clients to close: none."""
        return []

    def close(self) -> list[PooledClient[Client]]:
        """Return the clients to close: none."""
        return []


class _Processes:
    """Records the clients in use: a forked child that used their connections would receive its parent's responses."""

    def __init__(self) -> None:
        self.used: WeakSet[httpx.Client | httpx.AsyncClient] = WeakSet()
        self.inherited: WeakSet[httpx.Client | httpx.AsyncClient] = WeakSet()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Record the clients that were in use when this process was forked."""
        self.inherited.update(self.used)


_processes = _Processes()


def _refuse_detour(client: httpx.Client | httpx.AsyncClient, url: httpx.URL) -> None:
    """Check that no proxy would see, in plain text, a request to an address of this machine.

    A proxy is allowed if it is on this machine too and was given to the client itself: one that the environment names
    was not meant for this machine.  httpx has no public attribute for the proxy of an address; a transport without its
    private ones counts as no proxy.

    Raises:
        UnreachableError: a proxy would see it.
    """
    if not is_loopback_host(url.host):
        return
    choose = getattr(client, "_transport_for_url", None)
    transport = choose(url) if choose is not None else None
    proxy = getattr(getattr(transport, "_pool", None), "_proxy_url", None) or _aiohttp_proxy(transport)
    if _session_asks_environment(transport, url.host):
        raise _detour(url.host, "")
    host = getattr(proxy, "host", None)
    if host is None:
        return
    named = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    elsewhere = not is_loopback_host(named)
    if elsewhere or (client.trust_env and _in_environment(named, getattr(proxy, "port", None))):
        raise _detour(url.host, " on another machine" if elsewhere else "")


def _detour(host: str, where: str) -> UnreachableError:
    return UnreachableError(
        f"the HTTP client calls {host} through a proxy{where}",
        hint=f"except it from the proxy, in NO_PROXY or with mounts={{'all://{host}': None}}",
    )


def _session_asks_environment(transport: object, host: str) -> bool:
    """Whether an aiohttp session below the transport uses a proxy of the environment for a host."""
    trusting = getattr(getattr(transport, "client", None), "trust_env", False) is True
    return trusting and bool(getproxies().keys() & {"http", "https"}) and not proxy_bypass(host)


def _aiohttp_proxy(transport: object) -> httpx.URL | None:
    """Return the proxy of the transport on aiohttp."""
    proxy = getattr(transport, "proxy", None)
    return proxy.url if isinstance(proxy, httpx.Proxy) else None


def _in_environment(host: str, port: int | None) -> bool:
    """Whether the environment names a proxy at this host and port."""
    for address in getproxies().values():
        with suppress(httpx.InvalidURL):
            named = httpx.URL(address if "://" in address else f"http://{address}")
            if (named.host, named.port) == (host, port):
                return True
    return False
