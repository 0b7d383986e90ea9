"""A loopback server that replays recorded answers: in one piece, in chunks, or until it closes the line."""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.providers import corpus
from tests.support.background import serve_in_background

if TYPE_CHECKING:
    from types import TracebackType

FRAMINGS = ("whole", "chunked", "closing")
"""With its length and in one piece; in chunks that are cut at random; cut at random and ended by closing."""

MOST_PIECES = 12
PAUSE_S = 0.0005
# They tell of the recorded transfer, not of this one; date and server are this server's own.
NOT_REPLAYED = {"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive", "date", "server"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@dataclass
class Replay:
    """Serves each item in each framing under a base address of its own; `seen` has the path of each request."""

    items: dict[str, corpus.Item] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def do_GET(self) -> None:
                told.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                told.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        serve_in_background(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    def url(self, item: corpus.Item, framing: str) -> str:
        """Return the base address at which an item is replayed."""
        name = item["id"].replace("/", "-")
        self.items[name] = item
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}/{framing}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append(handler.path)
        name, framing, rest = handler.path.removeprefix("/").split("/", 2)
        item = self.items[name]
        if rest == "api/show":
            send(handler, 200, {"content-type": "application/json"}, [b"{}"], "whole")
        elif rest == "api/tags" and item["kind"] != "models":
            send(handler, 200, {"content-type": "application/json"}, [b'{"models":[]}'], "whole")
        else:
            kept = {name: value for name, value in corpus.headers(item).items() if name not in NOT_REPLAYED}
            pieces = cut(corpus.body(item), random.Random(f"{name}/{framing}")) if framing != "whole" else None
            send(handler, item["response"]["status"], kept, pieces or [corpus.body(item)], framing)


def cut(body: bytes, choice: random.Random) -> list[bytes]:
    """Return a body in pieces, some of one byte."""
    cuts = sorted(choice.sample(range(1, len(body)), min(MOST_PIECES, len(body) - 1))) if len(body) > 1 else []
    cuts = sorted({*cuts, *(cut + 1 for cut in cuts[::3] if cut + 1 < len(body))})
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def send(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], pieces: list[bytes], framing: str
) -> None:
    """Send an answer in its framing, each piece by itself."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    how: dict[str, Any] = {
        "whole": ("content-length", str(sum(map(len, pieces)))),
        "chunked": ("transfer-encoding", "chunked"),
        "closing": ("connection", "close"),
    }
    handler.send_header(*how[framing])
    handler.end_headers()
    try:
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            if len(pieces) > 1:
                time.sleep(PAUSE_S)
        if framing == "chunked":
            handler.wfile.write(b"0\r\n\r\n")
    except OSError:
        # The reader has all that it wants.
        handler.close_connection = True
