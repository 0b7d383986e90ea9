"""An HTTP server on a loopback port, for the time of a `with` block."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Self

from tests.support.background import serve_in_background

if TYPE_CHECKING:
    from types import TracebackType


class Handler(BaseHTTPRequestHandler):
    """Passes each request to the server that it belongs to."""

    protocol_version = "HTTP/1.1"
    owner: LocalServer

    def do_GET(self) -> None:
        self.owner.serve(self)

    def do_POST(self) -> None:
        self.owner.serve(self)

    def log_message(self, *_arguments: object) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class LocalServer:
    """A server whose subclass answers in `serve`."""

    handler: ClassVar[type[Handler]] = Handler

    def __enter__(self) -> Self:
        self.server = _Server(("127.0.0.1", 0), type("Handler", (self.handler,), {"owner": self}))
        serve_in_background(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, handler: Handler) -> None:
        raise NotImplementedError
