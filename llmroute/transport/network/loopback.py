"""Addresses of this machine: `localhost` is connected to by its loopback addresses, without a resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from llmroute.errors import BadRequestError
from llmroute.transport.errors import CLOSED_MEANWHILE
from llmroute.urls import LOCALHOST, LOOPBACK_ADDRESSES, is_loopback_host

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from llmroute.transport.network.send_progress import Progress

    Trace = Callable[[str, dict[str, Any]], Awaitable[None]]


CONNECTED = ("connection.connect_tcp.complete", "connection.start_tls.complete")
"""The events of httpcore's trace that have a new connection."""


class LoopbackTransport(httpx.HTTPTransport):
    """Connects `localhost` to this machine's addresses, one after the other, without a resolver; uses no proxy."""

    def __init__(self, verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self._pool = httpcore.ConnectionPool(**pooled(verify, limits), network_backend=_Network())


class AsyncLoopbackTransport(httpx.AsyncHTTPTransport):
    """As `LoopbackTransport`, for the event loop."""

    def __init__(self, verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(**pooled(verify, limits), network_backend=_AsyncNetwork())


def pooled(verify: ssl.SSLContext, limits: httpx.Limits) -> dict[str, Any]:
    """Return the factory of the connection pool of an httpx transport."""
    return {
        "ssl_context": verify,
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
    }


class _Network(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *first, last = _addresses(host)
        for address in first:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return super().connect_tcp(last, port, timeout, local_address, socket_options)


class _AsyncNetwork(httpcore.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's own name)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *first, last = _addresses(host)
        for address in first:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await super().connect_tcp(last, port, timeout, local_address, socket_options)


def _addresses(host: str) -> tuple[str, ...]:
    return LOOPBACK_ADDRESSES if host == LOCALHOST else (host,)


def connected_elsewhere(url: httpx.URL, event: str, info: dict[str, Any]) -> bool:
    """Whether a trace event of httpcore is a connection for `localhost` to another machine, before any byte is sent."""
    if event != "connection.connect_tcp.complete" or url.host != LOCALHOST:
        return False
    peer = info["return_value"].get_extra_info("server_addr")
    return isinstance(peer, tuple) and not is_loopback_host(str(peer[0]))


def resolved_elsewhere() -> httpx.ConnectError:
    """Return the error of a connection for `localhost` to another machine."""
    return httpx.ConnectError(f"{LOCALHOST} is resolved to an address of another machine")


def watching(url: httpx.URL, progress: Progress, is_closed: Callable[[], bool]) -> Trace:
    """Return a trace callback that updates `Progress`, and refuses some new connections.

    It raises for a connection of `localhost` to another machine, and for one of a sender that was closed meanwhile,
    which nothing would close.
    """

    async def watch(event: str, info: dict[str, Any]) -> None:
        progress.note(event, info)
        if connected_elsewhere(url, event, info):
            await info["return_value"].aclose()
            raise resolved_elsewhere()
        if event in CONNECTED and is_closed():
            await info["return_value"].aclose()
            raise BadRequestError(CLOSED_MEANWHILE)

    return watch
