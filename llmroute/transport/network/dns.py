"""Name resolution in a thread that can be abandoned, and connections to the addresses within one time limit.

An event loop resolves names in threads of its executor; the loop, and the interpreter at exit, wait for these threads
however long a resolver takes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from llmroute.transport.network.loopback import pooled

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

# Time for which one address is tried alone before the next is tried in parallel (RFC 8305, section 5).
STAGGER_S: Final = 0.25


class AsyncResolvingTransport(httpx.AsyncHTTPTransport):
    """Connects to the address of a name that answers first; the connect timeout covers all addresses together."""

    def __init__(self, verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(**pooled(verify, limits), network_backend=ResolvingNetwork())


async def found(host: str, port: int, family: int = socket.AF_UNSPEC) -> list[tuple[Any, ...]]:
    """Return the result of `socket.getaddrinfo` for a host and TCP.

    Raises:
        OSError: there is no such host, or no thread can be started.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

    def deliver(addresses: list[tuple[Any, ...]] | None, error: Exception | None) -> None:
        if waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(addresses or [])

    def resolve() -> None:
        addresses, fault = None, None
        try:
            addresses = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            fault = error
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, addresses, fault)

    try:
        threading.Thread(target=resolve, daemon=True, name="llmroute-dns").start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread can be started: {error}") from error
    return await waiting


class ResolvingNetwork(httpcore.AnyIOBackend):
    """Connects to names by the addresses that `found` returns, and to addresses directly."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's own name)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection within `timeout` seconds, including name resolution."""
        if _is_address(host):
            return await super().connect_tcp(host, port, timeout, local_address, socket_options)
        options = None if socket_options is None else list(socket_options)
        try:
            async with asyncio.timeout(timeout):
                addresses = list(dict.fromkeys(str(info[4][0]) for info in await found(host, port)))
                return await self._first(addresses, port, local_address, options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error

    async def _first(
        self, addresses: Sequence[str], port: int, local_address: str | None, options: list[Any] | None
    ) -> httpcore.AsyncNetworkStream:
        """Return the first connection to any of the addresses; their attempts start at staggered times."""
        connect = super().connect_tcp
        trying: set[asyncio.Task[httpcore.AsyncNetworkStream]] = set()
        failed: Exception = OSError("the name has no address")
        left = list(addresses)
        try:
            while left or trying:
                if left:
                    address = left.pop(0)
                    trying.add(asyncio.ensure_future(connect(address, port, None, local_address, options)))
                stagger_s = STAGGER_S if left else None
                done, trying = await asyncio.wait(trying, timeout=stagger_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (fault := task.exception()) is None:
                        trying |= done - {task}
                        return task.result()
                    failed = fault if isinstance(fault, Exception) else failed
            raise failed
        finally:
            await _let_go(trying)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _let_go(tasks: set[asyncio.Task[httpcore.AsyncNetworkStream]]) -> None:
    """Cancel the remaining connection attempts, and close connections that they made."""
    for task in tasks:
        task.cancel()
    for late in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(late, httpcore.AsyncNetworkStream):
            await late.aclose()
