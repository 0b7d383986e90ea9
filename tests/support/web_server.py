"""A loopback server that answers each path as the test says, or never."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.support.background import serve_in_background

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class Page:
    """An answer: `body` is JSON unless it is bytes, or, as a tuple of bytes, pieces that are sent one by one."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


HANG = Page(None, status=0)
"""The line is taken and nothing is ever said."""


@dataclass
class WebServer:
    """Answers by path and query; what it does not know is a 404.  `asked` holds each request in its order."""

    pages: dict[str, Page]
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        told = self
        self._ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.answer(self)

            def do_POST(self) -> None:
                told.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        serve_in_background(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        sent = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        self.asked.append((handler.path, {name.lower(): value for name, value in handler.headers.items()}, sent))
        page = self.pages.get(handler.path, Page({"error": {"message": f"no {handler.path} here"}}, status=404))
        if page is HANG:
            self._ended.wait(30)
            return
        body = page.body if isinstance(page.body, bytes | tuple) else json.dumps(page.body).encode()
        handler.send_response(page.status)
        for name, value in page.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for piece in body if isinstance(body, tuple) else (body,):
            handler.wfile.write(piece)
            handler.wfile.flush()
