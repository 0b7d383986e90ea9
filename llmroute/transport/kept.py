"""Connections of an event loop that wait to be used again.

httpcore's own pool looks at each of its connections for each request and each answer, which with 64 at once is half of
all the work.  Here the connection that was used last is taken first, and nothing is asked of the others.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    import httpcore

MOST_KEPT = 100

# httpcore asks for it several times a request; a module that is not there is looked for in every folder of the path.
if "sniffio" not in sys.modules and find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]


class KeptConnections:
    """Lends connections, one to each request; `pool` knows how to make one."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool
        self._idle: dict[Hashable, list[httpcore.AsyncConnectionInterface]] = {}
        self._lent: set[httpcore.AsyncConnectionInterface] = set()

    async def send(self, request: httpcore.Request) -> tuple[httpcore.Response, httpcore.AsyncConnectionInterface]:
        """Send a request; return its answer, and the connection that it came by, which must be given back.

        Raises:
            Exception: whatever httpcore raises; nothing is to be given back then.
        """
        origin = request.url.origin
        connection = await self._waiting(self._key(origin)) or self._pool.create_connection(origin)
        self._lent.add(connection)
        try:
            return await connection.handle_async_request(request), connection
        except BaseException:
            self._lent.discard(connection)
            await connection.aclose()
            raise

    async def _waiting(self, key: Hashable) -> httpcore.AsyncConnectionInterface | None:
        idle = self._idle.get(key, [])
        while idle:
            connection = idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def give_back(self, origin: httpcore.Origin, connection: httpcore.AsyncConnectionInterface) -> None:
        """Keep a connection whose answer has been let go of, or close it where more of that answer would come."""
        if connection not in self._lent:
            return
        self._lent.discard(connection)
        idle = self._idle.setdefault(self._key(origin), [])
        if connection.is_idle():
            idle.append(connection)
        else:
            await connection.aclose()
        # The first has waited longest.
        if len(idle) > MOST_KEPT or (len(idle) > 1 and idle[0].has_expired()):
            await idle.pop(0).aclose()

    async def aclose(self) -> None:
        """Close every connection, those that are lent too."""
        for connection in [*self._lent, *(one for idle in self._idle.values() for one in idle)]:
            await connection.aclose()
        self._lent.clear()
        self._idle.clear()

    @staticmethod
    def _key(origin: httpcore.Origin) -> Hashable:
        return origin.scheme, origin.host, origin.port
