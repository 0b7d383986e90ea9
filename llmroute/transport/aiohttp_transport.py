"""An httpx transport on aiohttp, used where `llmroute[aiohttp]` is installed."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp
from httpx_aiohttp import AiohttpTransport

from llmroute.transport.network.dns import found
from llmroute.transport.network.send_progress import Progress, in_flight
from llmroute.urls import LOCALHOST, LOOPBACK_ADDRESSES

if TYPE_CHECKING:
    import ssl

    import httpx


def new_transport(verify: ssl.SSLContext, limits: httpx.Limits) -> AiohttpTransport:
    """Return a transport without proxies and cookies."""

    def session() -> aiohttp.ClientSession:
        # 0 is no limit.
        connector = _CheckedConnector(
            limit=0, keepalive_timeout=limits.keepalive_expiry, ssl=verify, resolver=_Resolver()
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    return AiohttpTransport(verify=verify, limits=limits, client=session)


class _Resolver(aiohttp.abc.AbstractResolver):
    """Resolves names in threads that can be abandoned; uses no resolver for `localhost`."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[dict[str, Any]]:
        """Return the addresses of a host."""
        if host == LOCALHOST:
            addresses = list(LOOPBACK_ADDRESSES)
        else:
            addresses = list(dict.fromkeys(str(info[4][0]) for info in await found(host, port, family)))
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _CheckedConnector(aiohttp.TCPConnector):
    """Closes a connection that received bytes while idle; they would be read as the next response."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Return a pooled or new connection, and update the `Progress` of the request that uses it."""
        progress = in_flight.get() or Progress()
        progress.connect()
        connection = await self._sound_connection(*args, **kwargs)
        progress.send()
        return connection

    async def _sound_connection(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = connection.protocol
            if protocol not in self._used:
                self._used.add(protocol)
                return connection
            if protocol is None or not (protocol.should_close or _is_readable(connection)):
                return connection
            connection.close()


def _is_readable(connection: aiohttp.connector.Connection) -> bool:
    opened = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if opened is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    return bool(poll.poll(0))
