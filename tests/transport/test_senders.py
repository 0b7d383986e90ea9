"""Bytes come and go within their limits, and every failure of a line has its class."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from llmroute.errors import (
    AttemptError,
    BadOutputError,
    BadRequestError,
    ProviderTimeoutError,
    UnreachableError,
)
from llmroute.transport import decoding as bodies
from llmroute.transport.async_client import AsyncSender
from llmroute.transport.client import Sender
from llmroute.transport.errors import translating
from llmroute.transport.network.send_progress import Progress
from llmroute.types import HTTPRequest
from tests.support.fault_server import (
    Drip,
    Endless,
    Pause,
    Reset,
    Script,
    Until,
    chunk,
    chunked_head,
    closed_port,
    reply,
    serving,
)

if TYPE_CHECKING:
    from tests.support.fault_server import FaultServer, Received

# Far above every limit that is set here, below what the servers take.
BOUNDED_S = 30.0
# For what is not about this limit.
WAIT_S = 30.0
LONG = Pause(120)

Fetched = tuple[int, dict[str, str], bytes]
Fetch = Callable[..., Fetched]


def request(url: str, body: bytes | None = b"{}") -> HTTPRequest:
    return HTTPRequest("POST" if body is not None else "GET", url, {"content-type": "application/json"}, body)


def fetch_blocking(  # noqa: PLR0913 (a limit for each wait)
    url: str,
    *,
    body: bytes | None = b"{}",
    connect_s: float = WAIT_S,
    answer_s: float = WAIT_S,
    read_s: float = WAIT_S,
    client: httpx.Client | None = None,
) -> Fetched:
    sender = Sender(client)
    try:
        exchange = sender.open(request(url, body), connect_s=connect_s, answer_s=answer_s)
        try:
            answer = b"".join(iter(lambda: exchange.read(read_s), b""))
        finally:
            exchange.close()
        return exchange.status, dict(exchange.headers), answer
    finally:
        sender.close()


def fetch_awaiting(  # noqa: PLR0913 (as above)
    url: str,
    *,
    body: bytes | None = b"{}",
    connect_s: float = WAIT_S,
    answer_s: float = WAIT_S,
    read_s: float = WAIT_S,
    new_client: Callable[[], httpx.AsyncClient] | None = None,
) -> Fetched:
    async def fetch() -> Fetched:
        client = new_client() if new_client else None
        sender = AsyncSender(client)
        try:
            exchange = await sender.open(request(url, body), connect_s=connect_s, answer_s=answer_s)
            try:
                pieces = []
                while piece := await exchange.read(read_s):
                    pieces.append(piece)
            finally:
                await exchange.close()
            return exchange.status, dict(exchange.headers), b"".join(pieces)
        finally:
            await sender.close()
            if client is not None:
                await client.aclose()

    return asyncio.run(fetch())


def fetch_by_the_callers_client(url: str, **limits: Any) -> Fetched:
    with httpx.Client(follow_redirects=True) as client:
        return fetch_blocking(url, client=client, **limits)


def fetch_by_the_callers_async_client(url: str, **limits: Any) -> Fetched:
    return fetch_awaiting(url, new_client=lambda: httpx.AsyncClient(follow_redirects=True), **limits)


FETCHES: dict[str, Fetch] = {
    "blocking": fetch_blocking,
    "awaiting": fetch_awaiting,
    "caller's client": fetch_by_the_callers_client,
    "caller's async client": fetch_by_the_callers_async_client,
}


@pytest.fixture(params=list(FETCHES))
def fetch(request: pytest.FixtureRequest) -> Fetch:
    return FETCHES[request.param]


def failure_of(fetch: Fetch, script: Script, **limits: float) -> AttemptError:
    """Return what a fetch from a server with this script raises; that it ends in time is part of it."""
    with serving(script) as server:
        started = time.monotonic()
        with pytest.raises(AttemptError) as caught:
            fetch(server.url, **limits)
        assert time.monotonic() - started < BOUNDED_S
    return caught.value


def test_an_answer_comes_with_status_lower_case_headers_and_body(fetch: Fetch) -> None:
    with serving([reply(207, b'{"a": 1}', headers={"X-Request-ID": "abc"})]) as server:
        status, headers, body = fetch(server.url + "/v1/chat")
        assert (status, headers["x-request-id"], body) == (207, "abc", b'{"a": 1}')
        [received] = server.received
    assert received.line == "POST /v1/chat HTTP/1.1"
    assert received.body == b"{}"
    assert received.headers["user-agent"].startswith("llmroute/")
    assert received.headers["accept-encoding"] == "identity"
    assert "cookie" not in received.headers


def test_an_error_status_is_an_answer_like_any_other(fetch: Fetch) -> None:
    with serving([reply(500, b"oops")]) as server:
        assert fetch(server.url)[::2] == (500, b"oops")
        assert len(server.received) == 1


def test_a_redirect_is_not_followed(fetch: Fetch) -> None:
    with serving([reply()]) as other, serving([reply(302, headers={"location": other.url})]) as server:
        assert fetch(server.url)[0] == 302
        assert other.received == []


def test_a_head_that_never_comes_is_a_timeout(fetch: Fetch) -> None:
    error = failure_of(fetch, [LONG], connect_s=0.2, answer_s=0.2)
    assert isinstance(error, ProviderTimeoutError)


def test_a_head_that_drips_is_a_timeout(fetch: Fetch) -> None:
    error = failure_of(
        fetch, [Drip(reply(200, b"x", headers={"x-long": "y" * 1000}), 0.05)], connect_s=0.1, answer_s=0.2
    )
    assert isinstance(error, ProviderTimeoutError)


def test_a_body_that_stalls_is_a_timeout(fetch: Fetch) -> None:
    error = failure_of(fetch, [reply(200, b"x" * 10)[:-5], LONG], read_s=0.2)
    assert isinstance(error, ProviderTimeoutError)


def test_a_connection_that_is_not_taken_is_a_timeout(fetch: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        crowd = [socket.socket() for _ in range(4)]
        try:
            for one in crowd:
                one.settimeout(0)
                one.connect_ex(listener.getsockname())
            started = time.monotonic()
            with pytest.raises(ProviderTimeoutError, match=r"no connection within 0\.2 s"):
                fetch(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_s=0.2)
            assert time.monotonic() - started < BOUNDED_S
        finally:
            for one in crowd:
                one.close()


def test_a_limit_holds_for_each_read_even_when_gzip_yields_nothing_for_many_bytes(fetch: Fetch) -> None:
    body = gzip.compress(b"a" * 100, compresslevel=9)
    head = reply(200, headers={"content-encoding": "gzip", "content-length": str(len(body))})
    error = failure_of(fetch, [head, Drip(body, 0.06)], read_s=0.3)
    assert isinstance(error, ProviderTimeoutError)


def test_a_read_brings_all_that_has_come_and_waits_for_no_more() -> None:
    burst = b"".join(chunk(b"%03d;" % number) for number in range(500))
    last = [chunk(b"end"), chunk(b"")]
    text = b"".join(b"%03d;" % number for number in range(500))
    is_read = threading.Event()
    pieces: list[bytes] = []
    with serving([chunked_head(), Pause(0.1), burst, Until(is_read), *last]) as server:
        sender = Sender()
        exchange = sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S)
        while piece := exchange.read(WAIT_S):
            pieces.append(piece)
            if b"".join(pieces) == text:
                is_read.set()
        exchange.close()
        sender.close()
    assert b"".join(pieces) == text + b"end"
    assert pieces[-1] == b"end", "what had come was not held back for it"
    assert len(pieces) < 50


def test_a_fault_behind_what_has_come_is_told_after_it() -> None:
    burst = b"".join(chunk(b"%03d;" % number) for number in range(100)) + b"no chunk at all\r\n" * 20
    with serving([chunked_head(), Pause(0.1), burst]) as server:
        sender = Sender()
        exchange = sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S)
        told = []

        def read_on() -> None:
            while piece := exchange.read(WAIT_S):
                told.append(piece)

        with pytest.raises(UnreachableError):
            read_on()
        exchange.close()
        sender.close()
    assert b"".join(told) == b"".join(b"%03d;" % number for number in range(100))


def test_a_limit_that_shrinks_from_read_to_read_is_obeyed() -> None:
    with serving([chunked_head(), Drip(chunk(b"x") * 1000, 0.05)]) as server:
        sender = Sender()
        exchange = sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S)
        until = time.monotonic() + 0.5
        with pytest.raises(ProviderTimeoutError):
            list(iter(lambda: exchange.read(max(until - time.monotonic(), 0.001)), b""))
        assert time.monotonic() - until < BOUNDED_S
        exchange.close()
        sender.close()


@pytest.mark.filterwarnings("ignore:Sending a large body directly")  # what aiohttp says of it
# aiohttp leaves a connection that still has text to write to the end of its loop.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_prompt_that_is_taken_slowly_does_not_outlive_the_limit(fetch: Fetch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def take_slowly() -> None:
            connection, _ = listener.accept()
            taken.append(connection)
            # Fast enough that no single write times out, and far too slow for the whole.
            with suppress(OSError):
                while connection.recv(2**19, socket.MSG_WAITALL):
                    time.sleep(0.3)

        thread = threading.Thread(target=take_slowly, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ProviderTimeoutError):
            fetch(url, body=b"x" * 2**26, connect_s=0.2, answer_s=0.8)
        assert time.monotonic() - started < BOUNDED_S
        for one in taken:
            one.close()
        thread.join()
    gc.collect()


def test_a_closed_door_is_unreachable_and_not_broken_off(fetch: Fetch) -> None:
    with pytest.raises(UnreachableError, match="no connection") as caught:
        fetch(f"http://127.0.0.1:{closed_port()}")
    assert not caught.value.broken_off


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([Reset()], id="reset before the head"),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-le", Reset()], id="reset within the head"),
        pytest.param([reply(200, b"x" * 10)[:-5], Reset()], id="reset within the body"),
        pytest.param([chunked_head(), chunk(b"half") + b"ff\r\nx", Reset()], id="reset within a chunk"),
    ],
)
def test_a_line_that_breaks_is_broken_off(fetch: Fetch, script: Script) -> None:
    error = failure_of(fetch, script)
    assert isinstance(error, UnreachableError)
    assert error.broken_off


def test_half_a_chunked_body_is_broken_off(fetch: Fetch) -> None:
    def half_closed(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(chunked_head() + b"10\r\nonly half")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: half_closed(listener.accept()[0]))
        thread.start()
        with pytest.raises(UnreachableError) as caught:
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert caught.value.broken_off


def test_what_is_no_http_ends_in_an_error(fetch: Fetch) -> None:
    assert isinstance(failure_of(fetch, [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"]), UnreachableError)


def test_endless_headers_end_in_an_error(fetch: Fetch) -> None:
    script: Script = [b"HTTP/1.1 200 OK\r\n", Endless(b"x-more: " + b"y" * 1000 + b"\r\n")]
    assert isinstance(failure_of(fetch, script), UnreachableError)


def test_endless_interim_answers_end_in_an_error(fetch: Fetch) -> None:
    error = failure_of(fetch, [Endless(b"HTTP/1.1 102 Processing\r\n\r\n")], connect_s=0.2, answer_s=0.3)
    assert isinstance(error, ProviderTimeoutError)


def bounded(fetch: Fetch, script: Script) -> BadOutputError:
    """Return the refusal of a body that grows, having seen that the memory did not grow with it."""
    with serving(script) as server:
        tracemalloc.start()
        try:
            with pytest.raises(BadOutputError) as caught:
                fetch(server.url, read_s=20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * bodies.MAX_BODY_BYTES
    return caught.value


def test_an_endless_body_is_refused_with_bounded_memory(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 2**20)
    error = bounded(fetch, [chunked_head(), Endless(chunk(b"x" * 65536))])
    assert "larger than 1 MiB" in error.message


def test_a_gzip_bomb_is_refused_with_bounded_memory(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 2**20)
    body = gzip.compress(b"\0" * 2**26)
    error = bounded(fetch, [reply(200, body, headers={"content-encoding": "gzip"})])
    assert "larger than 1 MiB" in error.message


def test_a_gzip_bomb_within_a_gzip_bomb_is_refused_unopened(fetch: Fetch) -> None:
    body = gzip.compress(gzip.compress(b"\0" * 2**20))
    error = failure_of(fetch, [reply(200, body, headers={"content-encoding": "gzip, gzip"})])
    assert isinstance(error, BadOutputError)
    assert error.message == "the answer is encoded as gzip, gzip, which was not requested"


def test_a_body_of_just_the_limit_is_taken(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 2**16)
    with serving([reply(200, b"x" * 2**16)]) as server:
        assert len(fetch(server.url)[2]) == 2**16


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_gzip_that_nobody_asked_for_is_undone(fetch: Fetch, encoding: str, encode: Callable[[bytes], bytes]) -> None:
    body = encode(b'{"answer": 42}' * 100)
    with serving([reply(200, body, headers={"content-encoding": encoding})]) as server:
        assert fetch(server.url)[2] == b'{"answer": 42}' * 100


def test_a_body_that_is_not_what_its_header_says_is_bad_output(fetch: Fetch) -> None:
    error = failure_of(fetch, [reply(200, b"this is no gzip", headers={"content-encoding": "gzip"})])
    assert isinstance(error, BadOutputError)
    assert "not encoded as its headers say" in error.message


def test_what_cannot_be_a_request_is_the_callers_fault(fetch: Fetch) -> None:
    for url in ("http://exa\tmple/", "ftp://127.0.0.1/", "http://"):
        with pytest.raises(AttemptError):
            fetch(url)
    with serving([reply()]) as server:
        sender = Sender()
        with pytest.raises(BadRequestError, match="cannot be sent"):
            sender.open(HTTPRequest("GET", server.url, {"x-key": "a\nb"}), connect_s=WAIT_S, answer_s=WAIT_S)
        with pytest.raises(BadRequestError, match="cannot be sent"):
            sender.open(HTTPRequest("GET", server.url, {"x-key": "\u2013"}), connect_s=WAIT_S, answer_s=WAIT_S)
        assert server.received == []
        sender.close()


def test_a_host_that_does_not_exist_is_unreachable(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnreachableError) as caught:
        fetch("http://no-such-host.invalid/")
    assert not caught.value.broken_off


def test_a_plain_server_behind_https_is_unreachable(fetch: Fetch) -> None:
    with serving([reply()]) as server, pytest.raises(UnreachableError):
        fetch(server.url.replace("http:", "https:"))


def test_two_threads_do_not_disturb_each_others_limits() -> None:
    def answer(received: Received) -> Script:
        return [Pause(1.0), reply(200, b"slow")] if received.path == "/slow" else [LONG]

    with serving(answer) as server:
        sender = Sender()
        slow: list[bytes] = []

        def ask_slowly() -> None:
            exchange = sender.open(request(server.url + "/slow"), connect_s=WAIT_S, answer_s=WAIT_S)
            slow.append(exchange.read(WAIT_S))
            exchange.close()

        thread = threading.Thread(target=ask_slowly)
        thread.start()
        with pytest.raises(ProviderTimeoutError):
            sender.open(request(server.url + "/never"), connect_s=0.1, answer_s=0.1)
        thread.join()
        sender.close()
    assert slow == [b"slow"]


def test_a_connection_that_another_thread_opened_obeys_the_thread_that_reads() -> None:
    with serving([reply(200, b"x" * 10)[:-5], LONG]) as server:
        sender = Sender()
        exchange = sender.open(request(server.url), connect_s=60, answer_s=60)
        caught: list[BaseException] = []

        def read() -> None:
            try:
                while exchange.read(0.2):
                    pass
            except ProviderTimeoutError as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(BOUNDED_S)
        assert len(caught) == 1
        exchange.close()
        sender.close()


def test_a_connection_is_used_again_after_a_whole_answer_and_closed_after_half_a_one() -> None:
    def answer(received: Received) -> Script:
        half: Script = [reply(200, b"x" * 10)[:-5], LONG]
        return half if received.path == "/half" else [reply(200, b"whole")]

    with serving(answer) as server:
        sender = Sender()
        for _ in range(3):
            exchange = sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S)
            while exchange.read(WAIT_S):
                pass
            exchange.close()
        assert server.connections == 1
        exchange = sender.open(request(server.url + "/half"), connect_s=WAIT_S, answer_s=WAIT_S)
        exchange.close()
        exchange = sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S)
        assert exchange.read(WAIT_S) == b"whole"
        exchange.close()
        assert server.connections == 2
        sender.close()
        assert server.wait_until_idle()


def test_every_request_is_sent_once_whatever_comes_of_it(fetch: Fetch) -> None:
    scripts: list[Script] = [[Reset()], [reply(503)], [b"nonsense\r\n\r\n"]]
    for script in scripts:
        with serving(script) as server:
            with suppress(UnreachableError):
                fetch(server.url)
            assert len(server.received) == 1


def test_a_failed_exchange_leaves_no_connection_behind(fetch: Fetch) -> None:
    with serving([chunked_head(), chunk(b"x"), LONG]) as server:
        with pytest.raises(ProviderTimeoutError):
            fetch(server.url, read_s=0.1)
        assert server.wait_until_idle()


FIRST_REQUEST = """
import asyncio, sys
import httpx
from llmroute.transport.async_client import AsyncSender
from llmroute.types import HTTPRequest

send = httpx.AsyncClient.send
async def watched(*given, **more):
    before = {*sys.modules}
    response = await send(*given, **more)
    print(*sorted({*sys.modules} - before))
    return response
httpx.AsyncClient.send = watched

async def main():
    sender = AsyncSender()
    exchange = await sender.open(HTTPRequest("POST", sys.argv[1], {}, b"{}"), connect_s=30, answer_s=30)
    await exchange.close()
asyncio.run(main())
"""


def test_the_connect_timeout_of_a_first_awaited_request_covers_no_imports() -> None:
    with serving([reply()]) as server:
        command = [sys.executable, "-c", FIRST_REQUEST, server.url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "\n"


def test_cancelling_lets_go_of_the_connection() -> None:
    async def main(server: FaultServer) -> None:
        sender = AsyncSender()
        task = asyncio.create_task(sender.open(request(server.url), connect_s=WAIT_S, answer_s=WAIT_S))
        assert await asyncio.to_thread(server.wait_until_asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sender.close()

    with serving([LONG]) as server:
        asyncio.run(main(server))
        assert server.wait_until_idle()


def test_a_body_that_is_left_half_read_leaves_no_iterator_to_the_garbage_collector() -> None:
    left: list[Any] = []

    async def leave(url: str) -> None:
        sys.set_asyncgen_hooks(finalizer=left.append)
        sender = AsyncSender()
        exchange = await sender.open(request(url), connect_s=WAIT_S, answer_s=WAIT_S)
        assert await exchange.read(WAIT_S) == b"half"
        await exchange.close()
        del exchange
        gc.collect()
        await sender.close()

    with serving([chunked_head(), chunk(b"half"), LONG]) as server:
        asyncio.run(leave(server.url))
    assert left == []


def test_an_error_before_the_head_is_sent_leaves_the_request_unsent() -> None:
    progress = Progress()
    progress.connect()
    with pytest.raises(UnreachableError) as caught, translating(request("https://api.example/"), 1.0, 2.0, progress):
        raise httpx.ReadError("the proxy closed the connection")
    assert not caught.value.sent
    progress.enter()
    progress.send()
    with pytest.raises(UnreachableError) as caught, translating(request("https://api.example/"), 1.0, 2.0, progress):
        raise httpx.ReadError("the server closed the connection")
    assert caught.value.sent
