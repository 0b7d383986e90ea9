"""The caller's own client of httpx: used as it is, never closed, and within our rules on where keys may go."""

from __future__ import annotations

from typing import Generic
from weakref import WeakSet

import httpx

from llmroute.addresses import is_loopback_host
from llmroute.after_fork import start_anew_in_children
from llmroute.errors import BadRequestError, RequestError, UnreachableError
from llmroute.transport.clients import Client, Lane


class CallersClient(Generic[Client]):
    """As `OwnClients`, with one client that is the caller's."""

    def __init__(self, client: Client, kind: type[Client]) -> None:
        """Take the client.

        Raises:
            RequestError: it is not of that kind.
        """
        if not isinstance(client, kind):
            raise RequestError(f"the HTTP client is a {type(client).__name__}, where httpx.{kind.__name__} is needed")
        self._client = client

    def enter(self, url: str) -> Lane[Client]:
        """Return the client for one exchange with an address.

        Raises:
            httpx.InvalidURL: it is none.
            BadRequestError: the client is closed, or has connections that belong to the parent of this process.
            UnreachableError: it would call this machine through a proxy on another one.
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
        return Lane(self._client)

    def idle(self) -> list[Client]:
        """Return the clients to close for want of use: none."""
        return []

    def forget(self) -> list[Client]:
        """Return the clients to close: none."""
        return []


class _Processes:
    """Which clients have sent something: a forked child that used their connections would get its parent's answers."""

    def __init__(self) -> None:
        self.used: WeakSet[httpx.Client | httpx.AsyncClient] = WeakSet()
        self.inherited: WeakSet[httpx.Client | httpx.AsyncClient] = WeakSet()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Remember what was in use when this process was forked."""
        self.inherited.update(self.used)


_processes = _Processes()


def _refuse_detour(client: httpx.Client | httpx.AsyncClient, url: httpx.URL) -> None:
    """Let an address of this machine pass unless a proxy elsewhere would see what is sent to it, in plain text.

    httpx has no public name for the proxy of an address; what has none of its private ones is taken for no proxy.

    Raises:
        UnreachableError: it would.
    """
    if not is_loopback_host(url.host):
        return
    choose = getattr(client, "_transport_for_url", None)
    pool = getattr(choose(url), "_pool", None) if choose is not None else None
    host = getattr(getattr(pool, "_proxy_url", None), "host", None)
    if isinstance(host, bytes) and not is_loopback_host(host.decode("ascii", "replace")):
        raise UnreachableError(
            f"the HTTP client calls {url.host} through a proxy on another machine",
            hint=f"except it from the proxy, in NO_PROXY or with mounts={{'all://{url.host}': None}}",
        )
