"""A TCP proxy before a PostgreSQL server that counts connections and round trips, by the messages of its protocol."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# Requests for encryption, which come before the login and have no type.
_ENCRYPTION = (80_877_103, 80_877_104)
# After these the client waits for the server: a simple query, and the end of an extended one.
_WAITS = (ord("Q"), ord("S"))


class PostgresTap:
    """Passes bytes on; `replaced` stands in place of other bytes of the same length in what the server says."""

    def __init__(self, port: int, replaced: tuple[bytes, bytes] = (b"", b"")) -> None:
        self._server_port = port
        self._replaced = replaced
        self._lock = threading.Lock()
        self.connections = 0
        self.trips = 0
        """Round trips after the logins."""
        self._losing = threading.Event()
        self.unanswered = b""
        """The connection breaks before the answer to what has these bytes, unless there are none."""
        self.swallowed = b""
        """What has these bytes is not passed on, nor what follows it, and gets no answer."""

    def lose_an_answer(self) -> None:
        """Break the connection before the next answer of the server is passed on."""
        self._losing.set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def url(self, direct: str) -> str:
        """Return the URL of the database that `direct` reaches without the proxy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{direct.rpartition('/')[2]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError), server, client:
            while data := server.recv(65_536):
                if self._losing.is_set():
                    self._losing.clear()
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data.replace(*self._replaced) if self._replaced[0] else data)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        swallows = False
        with suppress(OSError), client, server:
            for kind, message in _messages(client):
                if kind in _WAITS:
                    with self._lock:
                        self.trips += 1
                if self.unanswered and self.unanswered in message:
                    self._losing.set()
                swallows = swallows or bool(self.swallowed and self.swallowed in message)
                if not swallows:
                    server.sendall(message)


def _messages(client: socket.socket) -> Iterator[tuple[int | None, bytes]]:
    """Yield the type and the bytes of each message of a client; None of one before the login."""
    file = client.makefile("rb")
    while len(size := file.read(4)) == 4:
        body = file.read(int.from_bytes(size) - 4)
        yield None, size + body
        if int.from_bytes(body[:4]) not in _ENCRYPTION:
            break
    while len(head := file.read(5)) == 5:
        yield head[0], head + file.read(int.from_bytes(head[1:]) - 4)
