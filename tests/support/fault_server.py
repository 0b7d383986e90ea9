"""A server on loopback that misbehaves on request: what it does with each connection is a list of steps."""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.support.waiting import PATIENCE_S

# How often a connection looks whether the server is to stop.
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long, or until the server stops."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """Send byte by byte, with a pause after each."""

    data: bytes
    every_s: float


@dataclass(frozen=True, slots=True)
class Until:
    """Do nothing until the event is set, the client leaves, or the server stops."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function: to say that the steps before are done."""

    do: Callable[[], object]


class Reset:
    """Break the connection off with a RST."""


class Endless:
    """Send the same bytes until the other side has enough."""

    def __init__(self, data: bytes) -> None:
        self.data = data


Step: TypeAlias = bytes | Pause | Drip | Until | Call | Reset | Endless
Script: TypeAlias = Sequence[Step]


@dataclass(slots=True)
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


@dataclass
class FaultServer:
    """Serves the script that `answer` returns for each request.

    Connections stay open after a whole answer, and are closed by an empty script.
    """

    answer: Callable[[Received], Script]
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
            with self._lock:
                self.connections += 1
                self.open_connections += 1
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(PATIENCE_S)

    def wait_until_idle(self) -> bool:
        """Whether every connection is gone within the patience."""
        until = time.monotonic() + PATIENCE_S
        while self.open_connections and time.monotonic() < until:
            time.sleep(0.01)
        return not self.open_connections

    def wait_until_asked(self) -> bool:
        """Whether a request has come within the patience."""
        until = time.monotonic() + PATIENCE_S
        while not self.received and time.monotonic() < until:
            time.sleep(0.01)
        return bool(self.received)

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(POLL_S)
            while (request := self._receive(connection)) is not None:
                with self._lock:
                    self.received.append(request)
                script = self.answer(request)
                if not script or not all(self._perform(connection, step) for step in script):
                    break
        self._left()

    def _left(self) -> None:
        with self._lock:
            self.open_connections -= 1

    def _receive(self, connection: socket.socket) -> Received | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._some(connection)
            if not more:
                return None
            data += more
            if data.startswith(b"\x16"):
                # TLS, which nobody here speaks.
                connection.sendall(reply(400))
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        line, *rows = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        while len(body) < int(headers.get("content-length", "0")):
            more = self._some(connection)
            if not more:
                return None
            body += more
        return Received(line, headers, body)

    def _some(self, connection: socket.socket) -> bytes:
        while not self._stopping.is_set():
            try:
                return connection.recv(65536)
            except TimeoutError:
                continue
        return b""

    def _perform(self, connection: socket.socket, step: Step) -> bool:
        """Do one step; return whether the connection goes on."""
        match step:
            case bytes():
                self._send(connection, step)
            case Pause(seconds):
                self._rest(connection, seconds)
            case Until(event):
                while not event.is_set():
                    if self._stopping.is_set() or not self._rest(connection, POLL_S):
                        return False
            case Call(do):
                do()
            case Drip(data, every_s):
                for byte in data:
                    self._send(connection, bytes([byte]))
                    if not self._rest(connection, every_s):
                        return False
            case Endless():
                while not self._stopping.is_set():
                    self._send(connection, step.data)
            case Reset():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
        return True

    def _send(self, connection: socket.socket, data: bytes) -> None:
        while data and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                data = data[connection.send(data) :]

    def _rest(self, connection: socket.socket, seconds: float) -> bool:
        """Wait; return whether the other side is still there."""
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (left_s := until - time.monotonic()) > 0:
            connection.settimeout(max(min(left_s, POLL_S), 0.001))
            try:
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    return False
                time.sleep(min(left_s, 0.01))
            except TimeoutError:
                continue
            finally:
                connection.settimeout(POLL_S)
        return True


CLOSE: Script = ()


@contextmanager
def serving(answer: Script | Callable[[Received], Script]) -> Iterator[FaultServer]:
    """Run a server that gives every request the same script, or the one that `answer` chooses."""
    server = FaultServer(answer if callable(answer) else lambda _request: answer)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE_S)


def reply(status: int = 200, body: bytes = b"", *, headers: dict[str, str] | None = None) -> bytes:
    """Return a whole answer with its length."""
    told = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked_head(status: int = 200, content_type: str = "text/event-stream") -> bytes:
    """Return the head of an answer whose body comes in chunks."""
    return f"HTTP/1.1 {status} OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    """Return one chunk; an empty one ends the body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@functools.cache
def closed_port() -> int:
    """Return a port of this machine that refuses connections; it stays bound, or another process might listen there."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    port: int = bound.getsockname()[1]
    bound.detach()
    return port
