"""A loopback server that answers each path as the test says, or never."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.local_server import Handler, LocalServer

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


class _Closing(Handler):
    protocol_version = "HTTP/1.0"


@dataclass
class WebServer(LocalServer):
    """Answers by path and query; what it does not know is a 404.  `asked` holds each request in its order."""

    pages: dict[str, Page]
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    handler = _Closing

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        super().__exit__(kind, error, at)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def serve(self, handler: Handler) -> None:
        sent = handler.body()
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
