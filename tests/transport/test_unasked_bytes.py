"""What a server sends without being asked never becomes the answer to the next request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from llmroute.transport.async_client import AsyncSender
from llmroute.transport.client import Sender
from tests.support.fault_server import Call, Script, Until, chunk, chunked_head, reply, serving
from tests.transport.test_senders import request

REQUESTS = 4
WAIT_S = 30.0

# Called after the first answer was read.
Between = Callable[[], object]


def ask_blocking(url: str, between: Between, client: httpx.Client | None = None) -> list[bytes]:
    sender = Sender(client)
    answers = []
    for number in range(REQUESTS):
        exchange = sender.open(request(f"{url}/{number}"), connect_s=WAIT_S, answer_s=WAIT_S)
        answers.append(b"".join(iter(lambda exchange=exchange: exchange.read(WAIT_S), b"")))  # type: ignore[misc]
        exchange.close()
        if number == 0:
            between()
    sender.close()
    return answers


def ask_awaiting(url: str, between: Between, new_client: Callable[[], httpx.AsyncClient] | None = None) -> list[bytes]:
    async def ask() -> list[bytes]:
        client = new_client() if new_client else None
        sender = AsyncSender(client)
        answers = []
        for number in range(REQUESTS):
            exchange = await sender.open(request(f"{url}/{number}"), connect_s=WAIT_S, answer_s=WAIT_S)
            pieces = []
            while piece := await exchange.read(WAIT_S):
                pieces.append(piece)
            answers.append(b"".join(pieces))
            await exchange.close()
            if number == 0:
                await asyncio.to_thread(between)
        await sender.close()
        if client is not None:
            await client.aclose()
        return answers

    return asyncio.run(ask())


def ask_by_the_callers_client(url: str, between: Between) -> list[bytes]:
    with httpx.Client() as client:
        return ask_blocking(url, between, client)


def ask_by_the_callers_async_client(url: str, between: Between) -> list[bytes]:
    return ask_awaiting(url, between, httpx.AsyncClient)


Ask = Callable[[str, Between], list[bytes]]
ASKS: list[Ask] = [ask_blocking, ask_awaiting, ask_by_the_callers_client, ask_by_the_callers_async_client]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
@pytest.mark.parametrize("head", ["length", "chunked"])
@pytest.mark.parametrize("unasked", [reply(200, b"unasked"), reply(408, b"unasked"), reply(200, b"unasked")[:20]])
def test_what_comes_together_with_an_answer_is_no_answer_to_the_next_request(
    ask: Ask, pause_s: float, head: str, unasked: bytes
) -> None:
    def answer(path: str) -> bytes:
        body = path.encode()
        return reply(200, body) if head == "length" else chunked_head() + chunk(body) + chunk(b"")

    with serving(lambda received: [answer(received.path) + (unasked if received.path == "/0" else b"")]) as server:
        assert ask(server.url, lambda: time.sleep(pause_s)) == [b"/0", b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("ask", ASKS)
def test_what_comes_while_a_connection_is_idle_is_no_answer_to_the_next_request(ask: Ask) -> None:
    is_read, has_come = threading.Event(), threading.Event()

    def script(path: str) -> Script:
        later: Script = [Until(is_read), reply(200, b"unasked"), Call(has_come.set)] if path == "/0" else []
        return [reply(200, path.encode()), *later]

    def wait() -> None:
        is_read.set()
        assert has_come.wait(WAIT_S)

    with serving(lambda received: script(received.path)) as server:
        assert ask(server.url, wait) == [b"/0", b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("ask", ASKS)
def test_a_connection_that_brought_nothing_else_is_used_again(ask: Ask) -> None:
    with serving(lambda received: [reply(200, received.path.encode())]) as server:
        assert ask(server.url, lambda: None) == [b"/0", b"/1", b"/2", b"/3"]
        assert server.connections == 1
