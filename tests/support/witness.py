"""A server that passes requests on to another and keeps what went each way."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.support.background import serve_in_background

if TYPE_CHECKING:
    from types import TracebackType


@dataclass
class Exchange:
    """One request and its answer, as they were on the wire."""

    path: str
    headers: dict[str, str]
    request: bytes
    status: int = 0
    answer: bytes = b""

    @property
    def asked(self) -> Any:
        return json.loads(self.request)

    @property
    def answered(self) -> Any:
        return json.loads(self.answer)

    @property
    def events(self) -> list[Any]:
        """The JSON of the answer's server-sent events."""
        lines = self.answer.decode().split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@dataclass
class Witness:
    """Passes on to `upstream`; `exchanges` holds what went by."""

    upstream: str
    exchanges: list[Exchange] = field(default_factory=list)

    def __enter__(self) -> Self:
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                exchange = Exchange(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                witness.exchanges.append(exchange)
                witness.pass_on(self, exchange)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        serve_in_background(self.server)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def pass_on(self, handler: BaseHTTPRequestHandler, exchange: Exchange) -> None:
        line = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        kept = ("authorization", "x-api-key", "content-type", "anthropic-version")
        line.request("POST", exchange.path, exchange.request, {k: v for k, v in exchange.headers.items() if k in kept})
        answer = line.getresponse()
        exchange.status = answer.status
        handler.send_response(answer.status)
        handler.send_header("content-type", answer.headers.get("content-type", ""))
        handler.send_header("connection", "close")
        handler.end_headers()
        while piece := answer.read1():
            exchange.answer += piece
            handler.wfile.write(piece)
        handler.close_connection = True
        line.close()
