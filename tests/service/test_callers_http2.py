"""A program's own client may speak HTTP/2, where requests share a connection."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset

from tests.support.provider_servers import KEY, OPENAI, House, delta, openai_answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = openai_answer("Hello!").partition(b"\r\n\r\n")[2]
HALF = delta("Half").split(b"\r\n")[1] + b"\n\n"
HTTP2: dict[str, Any] = {"http1": False, "http2": True}


class Server:
    """Answers in HTTP/2 without TLS; a streamed answer never ends, and goes on whenever another request is answered."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self.keys: list[bytes] = []

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for one in (self.listener, *self.connections):
            one.close()

    def _converse(self, connection: socket.socket) -> None:
        spoken = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        spoken.initiate_connection()
        asked: dict[int, bytes] = {}
        endless: set[int] = set()
        with suppress(OSError):
            connection.sendall(spoken.data_to_send())
            while data := connection.recv(65536):
                for event in spoken.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self.keys.append(dict(event.headers)[b"authorization"])
                    elif isinstance(event, DataReceived):
                        asked[event.stream_id] = asked.get(event.stream_id, b"") + event.data
                        spoken.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, StreamEnded):
                        half = bool(json.loads(asked[event.stream_id]).get("stream"))
                        for begun in endless:
                            spoken.send_data(begun, HALF)
                        spoken.send_headers(event.stream_id, [(":status", "200")])
                        spoken.send_data(event.stream_id, HALF if half else ANSWER, end_stream=not half)
                        if half:
                            endless.add(event.stream_id)
                    elif isinstance(event, StreamReset):
                        endless.discard(event.stream_id)
                connection.sendall(spoken.data_to_send())


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve, daemon=True)
    thread.start()
    yield running
    running.stop()
    thread.join(5)


def test_blocking_requests_share_a_connection_that_outlives_a_stream_left_in_the_middle(
    server: Server, tmp_path: Path
) -> None:
    with httpx.Client(**HTTP2) as client:
        house = House(tmp_path)
        service = house.service({"http_client": client}, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
        with service.stream_sync("x", model=OPENAI) as stream:
            assert next(iter(stream)) == "Half"
        for _ in range(2):
            assert service.generate_sync("x", model=OPENAI, enable_fallback=False).content == "Hello!"
        service.close()
    assert house.rows("status") == [("interrupted",), ("ok",), ("ok",)]
    assert len(server.connections) == 1
    assert set(server.keys) == {f"Bearer {KEY}".encode()}


def test_awaited_requests_share_a_connection_that_outlives_a_stream_left_in_the_middle(
    server: Server, tmp_path: Path
) -> None:
    house = House(tmp_path)

    async def main() -> list[str]:
        async with httpx.AsyncClient(**HTTP2) as client:
            clients: dict[str, Any] = {"async_http_client": client}
            service = house.service(clients, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
            stream = service.stream_generate("x", model=OPENAI)
            assert await anext(aiter(stream)) == "Half"
            await stream.aclose()
            answers = await asyncio.gather(*(service.generate("x", model=OPENAI) for _ in range(5)))
            await service.aclose()
        return [answer.content for answer in answers]

    assert asyncio.run(main()) == ["Hello!"] * 5
    assert sorted(house.rows("status")) == [("interrupted",), *[("ok",)] * 5]
    assert len(server.connections) == 1
