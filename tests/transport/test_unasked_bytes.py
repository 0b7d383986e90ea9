"""What a server sends without being asked never becomes the answer to the next request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from llmroute.transport.async_client import AsyncSender
from llmroute.transport.client import Sender
from tests.support.fault_server import Pause, Script, chunk, chunked_head, reply, serving
from tests.transport.test_senders import request

REQUESTS = 4
# Long enough for what a server sends later to arrive.
PAUSE_S = 0.1


def ask_blocking(url: str, pause_s: float, client: httpx.Client | None = None) -> list[bytes]:
    sender = Sender(client)
    answers = []
    for number in range(REQUESTS):
        exchange = sender.open(request(f"{url}/{number}"), connect_s=2, answer_s=2)
        answers.append(b"".join(iter(lambda exchange=exchange: exchange.read(2), b"")))  # type: ignore[misc]
        exchange.close()
        time.sleep(pause_s)
    sender.close()
    return answers


def ask_awaiting(url: str, pause_s: float, new_client: Callable[[], httpx.AsyncClient] | None = None) -> list[bytes]:
    async def ask() -> list[bytes]:
        client = new_client() if new_client else None
        sender = AsyncSender(client)
        answers = []
        for number in range(REQUESTS):
            exchange = await sender.open(request(f"{url}/{number}"), connect_s=2, answer_s=2)
            pieces = []
            while piece := await exchange.read(2):
                pieces.append(piece)
            answers.append(b"".join(pieces))
            await exchange.close()
            await asyncio.sleep(pause_s)
        await sender.close()
        if client is not None:
            await client.aclose()
        return answers

    return asyncio.run(ask())


def ask_by_the_callers_client(url: str, pause_s: float) -> list[bytes]:
    with httpx.Client() as client:
        return ask_blocking(url, pause_s, client)


def ask_by_the_callers_async_client(url: str, pause_s: float) -> list[bytes]:
    return ask_awaiting(url, pause_s, httpx.AsyncClient)


Ask = Callable[[str, float], list[bytes]]
ASKS: list[Ask] = [ask_blocking, ask_awaiting, ask_by_the_callers_client, ask_by_the_callers_async_client]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("pause_s", [0.0, PAUSE_S])
@pytest.mark.parametrize("head", ["length", "chunked"])
@pytest.mark.parametrize("unasked", [reply(200, b"unasked"), reply(408, b"unasked"), reply(200, b"unasked")[:20]])
def test_what_comes_together_with_an_answer_is_no_answer_to_the_next_request(
    ask: Ask, pause_s: float, head: str, unasked: bytes
) -> None:
    def answer(path: str) -> bytes:
        body = path.encode()
        return reply(200, body) if head == "length" else chunked_head() + chunk(body) + chunk(b"")

    with serving(lambda received: [answer(received.path) + (unasked if received.path == "/0" else b"")]) as server:
        assert ask(server.url, pause_s) == [b"/0", b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("ask", ASKS)
def test_what_comes_while_a_connection_is_idle_is_no_answer_to_the_next_request(ask: Ask) -> None:
    def script(path: str) -> Script:
        later: Script = [Pause(PAUSE_S / 4), reply(200, b"unasked")] if path == "/0" else []
        return [reply(200, path.encode()), *later]

    with serving(lambda received: script(received.path)) as server:
        assert ask(server.url, PAUSE_S) == [b"/0", b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("ask", ASKS)
def test_a_connection_that_brought_nothing_else_is_used_again(ask: Ask) -> None:
    with serving(lambda received: [reply(200, received.path.encode())]) as server:
        assert ask(server.url, 0.0) == [b"/0", b"/1", b"/2", b"/3"]
        assert server.connections == 1
