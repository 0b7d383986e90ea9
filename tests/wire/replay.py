"""A loopback server that replays recorded answers: in one piece, in chunks, or until it closes the line."""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from tests.providers import corpus
from tests.support.local_server import Handler, LocalServer

FRAMINGS = ("whole", "chunked", "closing")
"""With its length and in one piece; in chunks that are cut at random; cut at random and ended by closing."""

MOST_PIECES = 12
PAUSE_S = 0.0005
# They tell of the recorded transfer, not of this one; date and server are this server's own.
NOT_REPLAYED = {"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive", "date", "server"}


class _Prompt(Handler):
    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass
class Replay(LocalServer):
    """Serves each item in each framing under a base address of its own; `seen` has the path of each request."""

    items: dict[str, corpus.Item] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    handler = _Prompt

    def url_of(self, item: corpus.Item, framing: str) -> str:
        """Return the base address at which an item is replayed."""
        name = item["id"].replace("/", "-")
        self.items[name] = item
        return f"{self.url}/{name}/{framing}"

    def serve(self, handler: Handler) -> None:
        handler.body()
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


def send(handler: Handler, status: int, headers: dict[str, str], pieces: list[bytes], framing: str) -> None:
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
