"""A service that is closed while its requests are in flight."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import RequestError
from tests.support.fault_server import Pause, Until, chunked_head, serving
from tests.support.provider_servers import OPENAI, House, delta, openai_answer
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.service.client import LLMService
    from tests.support.fault_server import Received, Script

# More than open a circuit.
AT_ONCE = 4


def begins_to_answer(received: Received) -> Script:
    """Begin a streamed answer, and let the others wait."""
    is_streamed = json.loads(received.body).get("stream", False)
    return [*([chunked_head(), delta("one")] if is_streamed else ()), Pause(PATIENCE_S)]


def ask(service: LLMService, n: int) -> str:
    if n % 2:
        return "".join(service.stream_sync("x", model=OPENAI, fallback=OPENAI))
    return service.generate_sync("x", model=OPENAI, fallback=OPENAI).content


async def ask_async(service: LLMService, n: int) -> str:
    if n % 2:
        return "".join([piece async for piece in service.stream_generate("x", model=OPENAI, fallback=OPENAI)])
    return (await service.generate("x", model=OPENAI, fallback=OPENAI)).content


def check_ended(house: House, errors: list[Any]) -> None:
    """Check that requests ended as interrupted by the program, and that no provider is blamed."""
    for error in errors:
        assert isinstance(error, RequestError)
        assert "the service was closed" in error.message
        assert [attempt.status for attempt in error.attempts] == ["interrupted"]
    assert house.rows("status") == [("interrupted",)] * AT_ONCE
    with closing(sqlite3.connect(house.folder / "ledger.db")) as db:
        assert db.execute("SELECT * FROM breakers").fetchall() == []


def test_blocking_requests_end_when_their_service_is_closed_and_are_not_sent_again(tmp_path: Path) -> None:
    with serving(begins_to_answer) as server, ThreadPoolExecutor(AT_ONCE) as threads:
        house = House(tmp_path, openai=server)
        service = house.service()
        asked = [threads.submit(ask, service, n) for n in range(AT_ONCE)]
        wait_until(lambda: len(server.received) == AT_ONCE)
        service.close()
        errors = [one.exception(PATIENCE_S) for one in asked]
        assert len(server.received) == AT_ONCE
    assert not (tmp_path / "ledger.db-wal").exists(), "the last connection to a ledger removes its log"
    check_ended(house, errors)


def test_awaited_requests_end_when_their_service_is_closed_and_are_not_sent_again(tmp_path: Path) -> None:
    with serving(begins_to_answer) as server:
        house = House(tmp_path, openai=server)
        service = house.service()

        async def main() -> list[Any]:
            asked = [asyncio.ensure_future(ask_async(service, n)) for n in range(AT_ONCE)]
            await asyncio.to_thread(wait_until, lambda: len(server.received) == AT_ONCE)
            await service.aclose()
            return await asyncio.gather(*asked, return_exceptions=True)

        errors = asyncio.run(main())
        assert len(server.received) == AT_ONCE
    assert not (tmp_path / "ledger.db-wal").exists(), "the last connection to a ledger removes its log"
    check_ended(house, errors)


def test_a_blocking_request_is_answered_though_the_only_event_loop_leaves_the_service(tmp_path: Path) -> None:
    go_on = threading.Event()
    with serving([Until(go_on), openai_answer("late")]) as server, ThreadPoolExecutor(1) as threads:
        house = House(tmp_path, openai=server)
        service = house.service()
        asked = threads.submit(ask, service, 0)
        wait_until(lambda: len(server.received) == 1)
        asyncio.run(service.aclose())
        go_on.set()
        assert asked.result(PATIENCE_S) == "late"
    assert house.rows("status") == [("ok",)]
    assert not (tmp_path / "ledger.db-wal").exists()


def test_a_stream_that_is_begun_after_its_service_was_closed_is_refused(tmp_path: Path) -> None:
    with serving([openai_answer("x")]) as server:
        service = House(tmp_path, openai=server).service()
        stream = service.stream_sync("x", model=OPENAI)
        service.close()
        with pytest.raises(RequestError, match="closed"):
            next(stream)
        assert server.received == []
    assert not (tmp_path / "ledger.db-wal").exists()
