"""A service whose ledger is locked, whose time runs out, that is closed or forked in the midst of its work."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest

import llmroute
from llmroute.errors import (
    BadRequestError,
    DeadlineError,
    LLMRouteError,
    ProviderTimeoutError,
    RequestError,
    UnreachableError,
)
from llmroute.ledger.sqlite.store import Ledger
from llmroute.service.client import LLMService
from llmroute.transport import client_pool
from llmroute.transport.async_client import AsyncSender
from llmroute.transport.client import Sender
from llmroute.types import HTTPRequest
from tests.support.fault_server import Call, Drip, Pause, Received, Script, chunk, chunked_head, reply, serving
from tests.support.provider_servers import OPENAI, House, openai_answer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOUNDED_S = 20.0


def echo(received: Received) -> Script:
    return [openai_answer(json.loads(received.body)["messages"][-1]["content"])]


@contextmanager
def locked(ledger: Path) -> Iterator[Callable[[], object]]:
    """Hold the lock of the ledger's writer, as another process would; yield what lets it go earlier."""
    with closing(sqlite3.connect(ledger, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other.rollback
        other.rollback()


def test_a_blocking_call_whose_time_went_into_planning_is_never_sent(tmp_path: Path) -> None:
    with serving(echo) as server, serving([Pause(60)]) as ollama:
        house = House(tmp_path, openai=server)
        service = house.service(OLLAMA_BASE_URL=ollama.url)
        for _ in range(2):
            with pytest.raises(DeadlineError):
                service.generate_sync("x", strategy="local_first", timeout_s=0.1)
        assert server.received == []
        assert service.generate_sync("x", model=OPENAI).content == "x"
        service.close()
    assert house.rows("status") == [("ok",)]


def test_a_request_waits_for_the_ledger_for_a_part_of_its_time_and_is_answered(tmp_path: Path) -> None:
    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        service.generate_sync("first", model=OPENAI)

        async def main() -> None:
            with locked(tmp_path / "ledger.db"):
                assert (await service.generate("late", model=OPENAI, timeout_s=4)).content
            await service.aclose()

        asyncio.run(main())
        assert len(server.received) == 2
        [warning] = house.notes
        assert "this call is not in the ledger yet" in warning
        service.generate_sync("next", model=OPENAI)
        service.close()
    assert house.rows("status") == [("ok",)] * 3


def test_a_request_that_is_cancelled_while_the_ledger_is_locked_does_not_stop_the_loop(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"[timeouts]\nledger_s = {2 * BOUNDED_S}\n")
    with serving([Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()

        async def main() -> float:
            asked = asyncio.ensure_future(service.generate("x", model=OPENAI))
            while not server.received:  # noqa: ASYNC110 (the server is in another thread)
                await asyncio.sleep(0.01)
            with locked(tmp_path / "ledger.db"):
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
                began_s = time.monotonic()
                await asyncio.sleep(0)
                stood_still_s = time.monotonic() - began_s
            await service.aclose()
            return stood_still_s

        assert asyncio.run(main()) < BOUNDED_S
        wait_until(lambda: house.rows("status") == [("interrupted",)])


def threads_of_ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("llmroute")}


def test_requests_under_way_when_a_service_is_closed_are_sent_once_and_leave_nothing_open(tmp_path: Path) -> None:
    with serving([Pause(60)]) as server:
        service = House(tmp_path, openai=server).service()

        async def main() -> list[Any]:
            asked = [asyncio.ensure_future(service.generate("x", model=OPENAI)) for _ in range(6)]
            while len(server.received) < 6:  # noqa: ASYNC110 (the server is in another thread)
                await asyncio.sleep(0.01)
            await service.aclose()
            return await asyncio.gather(*asked, return_exceptions=True)

        threads = threads_of_ours()
        ended = asyncio.run(main())
        assert [one for one in ended if not isinstance(one, LLMRouteError)] == []
        assert not (tmp_path / "ledger.db-wal").exists(), "the last connection to a ledger removes its log"
        wait_until(lambda: not threads_of_ours() - threads)
        assert len(server.received) == 6
        assert server.wait_until_idle()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that it is so is what is tested
def test_a_service_that_another_thread_closes_as_a_request_begins_is_closed_by_that_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = House(tmp_path).service()
    resources = service.core.resources
    require_open = resources.require_open

    def require_open_and_close() -> None:
        require_open()
        service.close()

    monkeypatch.setattr(resources, "require_open", require_open_and_close)
    threads = threads_of_ours()

    async def main() -> None:
        with resources.in_use():
            await resources.threads().run(resources.ledger)
            assert (tmp_path / "ledger.db-wal").exists()

    asyncio.run(main())
    assert not (tmp_path / "ledger.db-wal").exists()
    wait_until(lambda: not threads_of_ours() - threads)


def test_a_child_that_is_forked_while_a_thread_writes_can_write_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    begun, go_on = threading.Event(), threading.Event()
    with Ledger(path) as ledger:

        def write() -> None:
            with ledger.connection.transaction():
                begun.set()
                go_on.wait(0.3)

        writer = threading.Thread(target=write)
        writer.start()
        begun.wait(BOUNDED_S)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                ledger.db.execute("PRAGMA busy_timeout = 60000")
                with ledger.connection.transaction():
                    code = 0
            finally:
                os._exit(code)
        go_on.set()
        writer.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with ledger.connection.transaction():
            pass


def test_one_request_with_a_wrong_budget_fails_alone_among_many(tmp_path: Path) -> None:
    wrong: list[Any] = ["5", float("nan"), float("inf"), 1j, -1]
    requests: list[Any] = ["a", *({"prompt": "b", "budget_remaining": one} for one in wrong), "c"]
    with serving(echo) as server:

        async def main() -> list[Any]:
            async with House(tmp_path, openai=server).service() as service:
                return [one async for one in service.generate_many(requests, jobs=1)]

        found = asyncio.run(main())
    assert [type(one.error) for one in found[1:-1]] == [RequestError] * len(wrong)
    assert [one.response.content for one in (found[0], found[-1])] == ["a", "c"]


def get(url: str) -> HTTPRequest:
    return HTTPRequest("GET", url, {})


def test_clients_of_a_burst_are_closed_when_they_have_had_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_pool, "KEEPALIVE_S", 0.1)
    with serving([reply(200, b"x")]) as server:
        sender = Sender()
        burst = [
            sender.open(get(server.url), connect_s=BOUNDED_S, answer_s=BOUNDED_S)
            for _ in range(4 * client_pool.MOST_AT_ONCE)
        ]
        for exchange in burst:
            while exchange.read(BOUNDED_S):
                pass
            exchange.close()
        until = time.monotonic() + BOUNDED_S
        while server.open_connections > client_pool.MOST_AT_ONCE and time.monotonic() < until:
            time.sleep(0.2)
            exchange = sender.open(get(server.url), connect_s=BOUNDED_S, answer_s=BOUNDED_S)
            exchange.read(BOUNDED_S)
            exchange.close()
        assert server.open_connections <= client_pool.MOST_AT_ONCE
        sender.close()


def test_a_head_that_never_ends_leaves_neither_thread_nor_connection_behind() -> None:
    with serving([Drip(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000, 0.05)]) as server:
        sender = Sender()
        with pytest.raises(ProviderTimeoutError):
            sender.open(get(server.url), connect_s=0.2, answer_s=0.2)
        assert server.wait_until_idle()
        wait_until(lambda: not any(one.name == "llmroute-http" for one in threading.enumerate()))
        sender.close()


def test_the_time_for_a_connection_holds_for_finding_its_addresses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def slow(*_args: object, **_kwargs: object) -> object:
        stopped.wait(BOUNDED_S)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sender = Sender()
    with pytest.raises(ProviderTimeoutError, match="no connection within"):
        sender.open(get("http://models.example/"), connect_s=0.2, answer_s=BOUNDED_S)
    stopped.set()
    sender.close()


def test_a_sender_that_is_closed_sends_nothing_more() -> None:
    with serving([reply(200, b"x")]) as server:
        sender = Sender()
        sender.close()
        with pytest.raises(BadRequestError, match="closed"):
            sender.open(get(server.url), connect_s=1, answer_s=1)
        assert server.received == []


@pytest.mark.parametrize("answered_before", [False, True], ids=["new connection", "used connection"])
@pytest.mark.parametrize("begun", [b"", chunked_head() + chunk(b"half")], ids=["before the head", "within the body"])
def test_a_request_that_another_thread_has_under_way_ends_when_the_sender_is_closed(
    answered_before: bool, begun: bytes
) -> None:
    patient_s = 3 * BOUNDED_S
    is_waiting = threading.Event()
    hangs: Script = [begun, Call(is_waiting.set), Pause(patient_s)]
    scripts: list[Script] = [[reply(200, b"x")], hangs] if answered_before else [hangs]
    with serving(lambda _received: scripts.pop(0)) as server, ThreadPoolExecutor(1) as threads:
        sender = Sender()

        def fetch() -> bytes:
            with sender.open(get(server.url), connect_s=patient_s, answer_s=patient_s) as exchange:
                return exchange.read_all(lambda: patient_s)

        if answered_before:
            assert fetch() == b"x"
        asked = threads.submit(fetch)
        is_waiting.wait(BOUNDED_S)
        sender.close()
        with pytest.raises(UnreachableError):
            asked.result(BOUNDED_S)
        assert server.connections == 1
        assert server.wait_until_idle()


def test_a_connection_that_is_made_while_its_sender_is_closed_is_closed_and_carries_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = httpcore.AnyIOBackend.connect_tcp

    async def main() -> None:
        is_connected, go_on = asyncio.Event(), asyncio.Event()

        async def connect_and_wait(*how: Any, **more: Any) -> httpcore.AsyncNetworkStream:
            stream = await connect(*how, **more)
            is_connected.set()
            await go_on.wait()
            return stream

        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_and_wait)
        sender = AsyncSender()
        asked = asyncio.create_task(sender.open(get(server.url), connect_s=BOUNDED_S, answer_s=BOUNDED_S))
        await is_connected.wait()
        await sender.close()
        go_on.set()
        with pytest.raises(BadRequestError, match="closed while"):
            await asked
        assert await asyncio.to_thread(server.wait_until_idle)

    with serving([reply(200, b"x")]) as server:
        asyncio.run(main())
        assert (server.connections, server.received) == (1, [])


def test_an_error_that_a_hook_meets_at_another_server_is_not_the_providers(tmp_path: Path) -> None:
    def fetch_token(_request: httpx.Request) -> None:
        httpx.Response(401, request=httpx.Request("GET", "https://login.example/token")).raise_for_status()

    with serving(echo) as server:
        house = House(tmp_path, openai=server)
        config = house.service().config
        with httpx.Client(event_hooks={"request": [fetch_token]}) as client:
            service = LLMService(config=config, http_client=client)
            with pytest.raises(httpx.HTTPStatusError):
                service.generate_sync("x", model=OPENAI)
            assert service.core.open_circuits() == {}
            service.close()
        assert server.received == []


@pytest.mark.parametrize("wrong", [3, object(), ["ledger.db"]])
def test_what_is_no_ledger_is_refused_at_once(wrong: Any) -> None:
    for door in (llmroute.get_llm_service, llmroute.get_llm_tracker):
        with pytest.raises(RequestError, match="ledger is a"):
            door(wrong)
