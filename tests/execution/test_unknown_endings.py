"""Calls that were sent and whose end nobody knows: what they count for under a budget, and what without one."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from llmroute.config import Limit
from llmroute.errors import BudgetExceededError, LLMRouteError
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.service.client import LLMService
from tests.ledger.calls import NOW_MS
from tests.support.billing_server import INPUT, LATE, OUTPUT, PLAIN, STREAMED, Biller
from tests.support.fault_server import chunk, chunked_head, closed_port, reply, serving
from tests.support.provider_servers import OPENAI, USAGE, House, delta, openai_answer, openai_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fault_server import Script

CAP = 60 * 10**9
ENDS = {**{f"plain: {name}": (False, script) for name, script in PLAIN.items()}} | {
    f"streamed: {name}": (True, script) for name, script in STREAMED.items()
}
PLACES = ("sync", "async")


# For what ends by itself, or by the limit for a stall.
PATIENT_S = 60.0
# For what only its deadline ends; on a busy machine it may be over before the request is sent.
BRIEF_S = 0.8


def service(house: House, *, cap: int | None = CAP, connect_s: float = PATIENT_S, clients: Any = None) -> LLMService:
    opened = house.service()
    config = replace(
        opened.config,
        limits=() if cap is None else (Limit("day", "", cap),),
        timeouts=opened.config.timeouts._replace(connect_s=connect_s, first_token_s=PATIENT_S, stall_s=0.4),
    )
    opened.close()
    return LLMService(config=config, note=house.notes.append, **(clients or {}))


def ask(llm: LLMService, place: str, *, streaming: bool = False, **options: Any) -> None:
    """Ask once; a failure is what is expected."""
    options = {"model": OPENAI, "enable_fallback": False, "timeout_s": PATIENT_S, **options}

    async def awaited() -> None:
        if streaming:
            async for _ in llm.stream_generate("hi", **options):
                pass
        else:
            await llm.generate("hi", **options)

    if place == "async":
        asyncio.run(awaited())
    elif streaming:
        list(llm.stream_sync("hi", **options))
    else:
        llm.generate_sync("hi", **options)


def ask_until_refused(llm: LLMService, place: str, **options: Any) -> None:
    for _ in range(20):
        try:
            ask(llm, place, **options)
        except BudgetExceededError:
            return
        except LLMRouteError:
            continue
    raise AssertionError("no budget has refused")


@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_is_not_known_keeps_its_reservation_as_spent_under_a_cap(end: str, tmp_path: Path) -> None:
    streaming, script = ENDS[end]
    biller = Biller(script)
    with serving(biller) as server:
        house = House(tmp_path, openai=server)
        llm = service(house)
        timeout_s = BRIEF_S if LATE in script else PATIENT_S
        ask_until_refused(llm, PLACES[len(end) % 2], streaming=streaming, timeout_s=timeout_s)
        llm.close()
    assert biller.asked
    assert biller.bill_picousd <= CAP
    rows = house.rows("cost_picousd, reserved_picousd, cost_basis")
    sent = [(cost, reserved, basis) for cost, reserved, basis in rows if (cost, basis) != (0, "reported")]
    assert len(sent) >= len(biller.asked)
    assert all((cost, basis) == (reserved, "at_most") for cost, reserved, basis in sent)
    assert biller.bill_picousd <= sum(cost for cost, _, _ in rows) <= CAP
    assert check(tmp_path / "ledger.db", NOW_MS).faults == ()


@pytest.mark.parametrize("place", PLACES)
def test_the_budget_of_a_request_counts_the_reservations_of_attempts_with_no_known_end(
    place: str, tmp_path: Path
) -> None:
    biller = Biller(PLAIN["no JSON"])
    with serving(biller) as server:
        house = House(tmp_path, openai=server)
        llm = service(house, cap=None)
        with pytest.raises(LLMRouteError):
            ask(llm, place, budget_remaining=0.06)
        llm.close()
    assert 0 < biller.bill_picousd <= CAP
    assert {basis for (basis,) in house.rows("cost_basis")} == {"at_most"}


def test_the_budget_of_many_requests_counts_them_too(tmp_path: Path) -> None:
    biller = Biller([LATE])
    with serving(biller) as server:
        house = House(tmp_path, openai=server)
        llm = service(house, cap=None)

        async def ask_all() -> list[Any]:
            requests = [{"prompt": f"hi {number}", "model": OPENAI, "timeout_s": 0.4} for number in range(12)]
            async with llm:
                return [one async for one in llm.generate_many(requests, jobs=3, budget_usd=0.06)]

        asyncio.run(ask_all())
    assert 0 < biller.bill_picousd <= CAP


def test_a_cancelled_request_keeps_its_reservation_as_spent_under_a_cap(tmp_path: Path) -> None:
    biller = Biller([LATE])
    with serving(biller) as server:
        house = House(tmp_path, openai=server)

        async def cancel() -> None:
            async with service(house) as llm:
                task = asyncio.create_task(llm.generate("hi", model=OPENAI, timeout_s=20))
                while not biller.asked:  # noqa: ASYNC110 (the server is a thread)
                    await asyncio.sleep(0.01)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

        asyncio.run(cancel())
    ((status, cost, reserved, basis),) = house.rows("status, cost_picousd, reserved_picousd, cost_basis")
    assert (status, cost, basis) == ("interrupted", reserved, "at_most")
    assert biller.bill_picousd <= cost


@pytest.mark.parametrize("streaming", [False, True])
def test_without_a_budget_it_is_an_estimate_within_its_limit_that_says_the_most(
    streaming: bool, tmp_path: Path
) -> None:
    biller = Biller([LATE])
    with serving(biller) as server:
        house = House(tmp_path, openai=server)
        llm = service(house, cap=None)
        for number, max_tokens in enumerate((10, 2_000)):
            while len(biller.asked) == number:
                with pytest.raises(LLMRouteError):
                    ask(llm, "sync", streaming=streaming, max_tokens=max_tokens, timeout_s=BRIEF_S)
        llm.close()
    columns = "output_tokens, cost_picousd, reserved_picousd, cost_basis, usage_source"
    sent = [row for row in house.rows(columns) if row[3] != "reported"]
    (little, _, most, _, _), (much, cost, _, basis, source) = sent
    assert (little, much) == (10, 600)
    assert (basis, source) == ("estimated", "estimated")
    assert 600 * OUTPUT < cost < 700 * OUTPUT
    # The limit, and no more tokens of input than it has bytes; a gateway may choose the priority tier.
    assert most == (10 * OUTPUT + 274 * INPUT) * 7 // 4


def test_what_costs_nothing_is_no_guess_whatever_its_end(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[models."openai/free"]\ninput = 0\noutput = 0\ncontext_window = 8000\n')
    with serving([reply(200, b"")]) as server:
        house = House(tmp_path, openai=server)
        llm = house.service()
        with pytest.raises(LLMRouteError):
            llm.generate_sync("hi", model="openai/free", enable_fallback=False)
        llm.close()
    assert set(house.rows("cost_picousd, cost_basis")) == {(0, "reported")}


def test_hidden_reasoning_that_breaks_off_is_not_free_without_a_budget(tmp_path: Path) -> None:
    with serving(Biller(STREAMED["reasoning, counted on the way, that breaks"])) as server:
        house = House(tmp_path, openai=server)
        llm = service(house, cap=None)
        with pytest.raises(LLMRouteError):
            ask(llm, "sync", streaming=True)
        llm.close()
    assert all(cost > 400 * OUTPUT for (cost,) in house.rows("cost_picousd"))


FACTS: dict[str, tuple[bool, Script]] = {
    "an empty answer": (False, [openai_answer("")]),
    "a filtered answer": (False, [openai_answer("x", finish="content_filter")]),
    "a stream that breaks after its usage": (True, [chunked_head(), delta("Hi"), delta("", "stop"), USAGE]),
    "a filtered stream": (
        True,
        [chunked_head(), delta("", "content_filter"), USAGE, chunk(b"data: [DONE]\n\n"), chunk(b"")],
    ),
}


@pytest.mark.parametrize("what", FACTS)
def test_a_usage_that_the_provider_reports_is_a_fact_whatever_the_answer_is(what: str, tmp_path: Path) -> None:
    streaming, script = FACTS[what]
    with serving(script) as server:
        house = House(tmp_path, openai=server)
        llm = service(house)
        with suppress(LLMRouteError):
            ask(llm, "sync", streaming=streaming)
        llm.close()
    for cost, basis in house.rows("cost_picousd, cost_basis"):
        assert (cost, basis) == (10 * INPUT + 5 * OUTPUT, "reported")


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503, 529])
def test_an_error_status_costs_nothing_under_a_cap_even_when_its_body_breaks_off(status: int, tmp_path: Path) -> None:
    scripts: list[Script] = [[openai_error(status)], [reply(status, b"x" * 50)[:-9], LATE]]
    for number, script in enumerate(scripts):
        with serving(script) as server:
            house = House(tmp_path / str(number), openai=server)
            llm = service(house)
            with pytest.raises(LLMRouteError):
                ask(llm, "sync")
            llm.close()
        assert {(cost, basis) for cost, basis in house.rows("cost_picousd, cost_basis")} == {(0, "reported")}


GAVE_UP: dict[str, Script] = {
    **{f"status {status}": [openai_error(status)] for status in (408, 499, 504, 524)},
    "a body that stalls": [reply(504, b"x" * 50)[:-9], LATE],
    "a page": [reply(504, b"<html><title>504</title></html>", headers={"content-type": "text/html"})],
    "told with status 200": [reply(200, b'{"error": {"message": "upstream timed out", "code": 524}}')],
    "called a time-out with status 200": [reply(200, b'{"error": {"message": "late", "type": "timeout_error"}}')],
}


@pytest.mark.parametrize("end", GAVE_UP)
def test_a_gateway_that_did_not_wait_leaves_the_reservation_spent_under_a_cap(end: str, tmp_path: Path) -> None:
    streaming = len(end) % 2 == 0
    biller = Biller(GAVE_UP[end])
    with serving(biller) as server:
        house = House(tmp_path, openai=server)
        llm = service(house)
        ask_until_refused(llm, "sync", streaming=streaming)
        llm.close()
    rows = house.rows("cost_picousd, reserved_picousd, cost_basis")
    assert {(cost == reserved, basis) for cost, reserved, basis in rows} == {(True, "at_most")}
    assert 0 < biller.bill_picousd <= CAP


def test_a_gateway_that_did_not_wait_is_an_estimate_without_a_budget(tmp_path: Path) -> None:
    with serving([openai_error(504)]) as server:
        house = House(tmp_path, openai=server)
        llm = service(house, cap=None)
        with pytest.raises(LLMRouteError):
            ask(llm, "sync")
        llm.close()
    assert all(cost > 400 * OUTPUT and basis == "estimated" for cost, basis in house.rows("cost_picousd, cost_basis"))


@pytest.mark.parametrize(("status", "within"), [(200, False), (429, True), (500, True), (504, False)])
def test_a_usage_that_an_error_tells_is_a_fact(status: int, within: bool, tmp_path: Path) -> None:
    usage = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    body = {"error": {"message": "told"} | (usage if within else {})} | ({} if within else usage)
    with serving([reply(status, json.dumps(body).encode())]) as server:
        house = House(tmp_path, openai=server)
        llm = service(house)
        with pytest.raises(LLMRouteError):
            ask(llm, "sync")
        llm.close()
    assert set(house.rows("cost_picousd, cost_basis")) == {(10 * INPUT + 5 * OUTPUT, "reported")}


def test_an_error_in_place_of_a_stream_costs_nothing(tmp_path: Path) -> None:
    with serving([chunked_head(), chunk(b'data: {"error": {"message": "overloaded"}}\n\n'), chunk(b"")]) as server:
        house = House(tmp_path, openai=server)
        llm = service(house)
        with pytest.raises(LLMRouteError):
            ask(llm, "sync", streaming=True)
        llm.close()
    assert {cost for (cost,) in house.rows("cost_picousd")} == {0}


@contextmanager
def crowded() -> Iterator[int]:
    """Yield a port on which nobody takes a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        crowd = [socket.socket() for _ in range(4)]
        try:
            for one in crowd:
                one.settimeout(0)
                one.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for one in crowd:
                one.close()


WAYS = ("sync", "sync, the caller's client", "async", "async, the caller's client", "many", "cancelled")


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_gets_no_connection_costs_nothing(way: str, tmp_path: Path) -> None:
    asked = {"model": OPENAI, "enable_fallback": False, "timeout_s": PATIENT_S}

    async def ask_many(llm: LLMService) -> None:
        async for _ in llm.generate_many([{"prompt": "hi", **asked}], budget_usd=1.0):
            pass

    async def ask_async(llm: LLMService, ended: asyncio.Event, sending: asyncio.Event) -> None:
        if way == "many":
            # It is retried while the failure may pass by itself.
            asking = asyncio.create_task(ask_many(llm))
            await ended.wait()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        elif way == "cancelled":
            asking = asyncio.create_task(llm.generate("hi", **asked))  # type: ignore[call-overload]
            async with asyncio.timeout(PATIENT_S):
                await sending.wait()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        else:
            with pytest.raises(LLMRouteError):
                await llm.generate("hi", **asked)  # type: ignore[call-overload]

    with crowded() as port, httpx.Client(trust_env=False) as client:
        house = House(tmp_path)
        house.environ |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "sk-x"}
        for base in (port, closed_port()):
            house.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{base}/v1"
            if way.startswith("sync"):
                clients = {"http_client": client} if "caller" in way else {}
                llm = service(house, connect_s=0.2, clients=clients)
                with pytest.raises(LLMRouteError):
                    llm.generate_sync("hi", **asked)  # type: ignore[call-overload]
                llm.close()
                continue

            async def run() -> None:
                ended, sending = asyncio.Event(), asyncio.Event()
                async with httpx.AsyncClient(trust_env=False) as own:
                    given: dict[str, Any] = {"async_http_client": own} if "caller" in way else {}
                    given |= {
                        "on_attempt": lambda _: ended.set(),
                        "trace": lambda told: sending.set() if ": POST " in told else None,
                    }
                    async with service(house, connect_s=PATIENT_S if way == "cancelled" else 0.2, clients=given) as llm:
                        with suppress(LLMRouteError):
                            await ask_async(llm, ended, sending)

            asyncio.run(run())
    rows = house.rows("cost_picousd, cost_basis, status")
    assert len(rows) >= 2
    assert {row[:2] for row in rows} == {(0, "reported")}


def test_a_connection_that_is_reset_before_a_byte_is_sent_costs_nothing(tmp_path: Path) -> None:
    """The handshake of TLS breaks off: the provider has seen nothing of the request."""
    with serving([reply(200, b"")]) as server, closing(socket.socket()):
        house = House(tmp_path)
        house.environ |= {"OPENAI_BASE_URL": f"https://127.0.0.1:{server.port}/v1", "OPENAI_API_KEY": "sk-x"}
        llm = service(house)
        with pytest.raises(LLMRouteError):
            ask(llm, "sync")
        llm.close()
    assert {cost for (cost,) in house.rows("cost_picousd")} == {0}
