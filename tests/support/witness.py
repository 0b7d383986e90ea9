"""A server that passes requests on to another and keeps what went each way."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.local_server import Handler, LocalServer


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
class Witness(LocalServer):
    """Passes on to `upstream`; `exchanges` holds what went by."""

    upstream: str
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def serve(self, handler: Handler) -> None:
        exchange = Exchange(handler.path, {k.lower(): v for k, v in handler.headers.items()}, handler.body())
        self.exchanges.append(exchange)
        line = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        kept = ("authorization", "x-api-key", "content-type", "anthropic-version")
        headers = {k: v for k, v in exchange.headers.items() if k in kept}
        line.request(handler.command, exchange.path, exchange.request, headers)
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
