"""A prompt goes in; an answer, or an error with its exit code, and honest rows come out: both ways of asking."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from llmroute.errors import (
    AllProvidersFailedError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    ContentError,
    DeadlineError,
    IncompleteAnswerError,
    LLMRouteError,
    NoCandidateError,
    ProviderTimeoutError,
    RequestError,
    TransientError,
    UnreachableError,
)
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning.endpoints import Endpoints
from llmroute.request.options import Options
from llmroute.service.factory import get_llm_service
from llmroute.types import LLMResponse
from tests.support.fault_server import Drip, Pause, Received, Reset, Script, chunk, chunked_head, reply, serving
from tests.support.mocked_providers import elsewhere, mock
from tests.support.provider_servers import (
    ANTHROPIC,
    KEY,
    OPENAI,
    House,
    anthropic_answer,
    delta,
    event,
    openai_answer,
    openai_error,
    openai_stream,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_httpx import HTTPXMock

    from llmroute.service.client import LLMService

# Less than the servers take.
BOUNDED_S = 30.0


class Ask(Protocol):
    """Asks a service and closes it; returns the pieces and the response."""

    def __call__(
        self, service: LLMService, *, streaming: bool = False, **options: Any
    ) -> tuple[list[str], LLMResponse]: ...


def ask_blocking(service: LLMService, *, streaming: bool = False, **options: Any) -> tuple[list[str], LLMResponse]:
    asked: dict[str, Any] = {"prompt": "Say hello.", **options}
    pieces: list[str] = []
    response: LLMResponse | None = None
    try:
        for piece in service.answer(Options(**asked), streaming=streaming):
            if isinstance(piece, LLMResponse):
                response = piece
            else:
                pieces.append(piece)
    finally:
        service.close()
    assert response is not None
    return pieces, response


def ask_awaiting(service: LLMService, *, streaming: bool = False, **options: Any) -> tuple[list[str], LLMResponse]:
    asked: dict[str, Any] = {"prompt": "Say hello.", **options}

    async def ask() -> tuple[list[str], LLMResponse]:
        async with service:
            if not streaming:
                return [], await service.generate(**asked)
            stream = service.stream_generate(**asked)
            pieces = [piece async for piece in stream]
            return pieces, stream.response

    return asyncio.run(ask())


@pytest.fixture(params=[ask_blocking, ask_awaiting], ids=["blocking", "awaiting"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def in_turn(*scripts: Script) -> Callable[[Received], Script]:
    """Answer the first request by the first script, and so on; the last holds on."""
    left = list(scripts)
    lock = threading.Lock()

    def answer(_received: Received) -> Script:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return answer


def test_a_plain_answer_and_its_row(tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock) -> None:
    mock(httpx_mock, "openai", [openai_answer("Hello!")])
    house = elsewhere(tmp_path, "openai")
    _, response = ask(
        house.service(), model=OPENAI, task_type="chat", workspace_id="w", execution_id="e", max_tokens=50
    )
    [sent] = httpx_mock.get_requests()
    assert str(sent.url) == "https://openai.example/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert (response.content, response.provider, response.model) == ("Hello!", "openai", "gpt-4.1-mini")
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.source) == (10, 5, "reported")
    assert (response.finish_reason, response.ttft_ms) == ("stop", None)
    assert response.cost_usd == pytest.approx((10 * 0.4 + 5 * 1.6) / 1e6)
    assert [(each.status, each.http_status) for each in response.attempts] == [("ok", 200)]
    [row] = house.rows(
        "request_id, attempt, status, error, http_status, cost_usd, input_tokens, output_tokens, usage_source, task,"
        " workspace, execution, served_model, provider_request_id, finish_reason, streaming, strategy, chain"
    )
    assert row == (
        response.request_id, 1, "ok", None, 200, response.cost_usd, 10, 5, "reported", "chat", "w", "e",
        "gpt-4.1-mini-2025-04-14", "chatcmpl-1", "stop", 0, "balanced", None,
    )  # fmt: skip
    assert house.notes == []


def test_a_streamed_answer_comes_in_its_pieces(tmp_path: Path, ask: Ask) -> None:
    with serving(openai_stream("Hel", "lo", "!")) as server:
        house = House(tmp_path, openai=server)
        pieces, response = ask(house.service(), streaming=True, model=OPENAI)
    assert pieces == ["Hel", "lo", "!"]
    assert response.content == "Hello!"
    assert response.ttft_ms is not None
    assert house.rows("status, streaming, cost_usd, usage_source") == [("ok", 1, response.cost_usd, "reported")]
    ((ttft_ms, latency_ms),) = house.rows("ttft_ms, latency_ms")
    assert 0 <= ttft_ms <= latency_ms
    # The response counts from when the request was made, planning included.
    assert ttft_ms <= response.ttft_ms <= response.latency_ms


def test_usage_that_nobody_told_is_estimated_and_said_to_be(tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock) -> None:
    mock(httpx_mock, "openai", [openai_answer("x" * 400, usage=False)])
    house = elsewhere(tmp_path, "openai")
    _, response = ask(house.service(), model=OPENAI)
    assert (response.usage.output_tokens, response.usage.source) == (100, "estimated")
    assert response.cost_usd
    assert house.rows("output_tokens, usage_source, cost_usd") == [(100, "estimated", response.cost_usd)]


def test_a_model_of_unknown_price_has_an_unknown_cost(tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock) -> None:
    mock(httpx_mock, "openai", [openai_answer()])
    house = elsewhere(tmp_path, "openai")
    _, response = ask(house.service(), model="openai/ft:somebody", enable_fallback=False)
    assert response.cost_usd is None
    assert house.rows("status, cost_picousd") == [("ok", None)]


def test_a_failure_is_asked_once_more_and_then_answered(tmp_path: Path, ask: Ask) -> None:
    with serving(in_turn([openai_error(500)], [openai_answer()])) as server:
        house = House(tmp_path, openai=server)
        _, response = ask(house.service(), model=OPENAI)
        assert len(server.received) == 2
    assert house.rows() == [("openai", "failed", "transient", 500, 1), ("openai", "ok", None, 200, 2)]
    assert [each.status for each in response.attempts] == ["failed", "ok"]
    assert house.rows("sum(cost_usd)") == [(response.cost_usd,)]


def test_another_provider_stands_in_and_a_person_is_told(tmp_path: Path, ask: Ask) -> None:
    with serving([openai_error(503)]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        _, response = ask(house.service(), model=OPENAI)
        assert [sent.path for sent in second.received] == ["/v1/messages"]
        assert second.received[0].headers["x-api-key"] == KEY
        assert "authorization" not in second.received[0].headers
    assert response.provider == "anthropic"
    assert response.content == "Bonjour!"
    assert house.rows("provider, status, error, http_status") == [
        ("openai", "failed", "transient", 503),
        ("anthropic", "ok", None, 200),
    ]
    [note] = house.notes
    assert note.startswith(
        f"{OPENAI}: provider error (503) after 1 attempt, using {response.provider}/{response.model}"
    )


@pytest.mark.parametrize(
    ("failure", "error", "status"),
    [
        ([openai_error(429)], "rate_limit", 429),
        ([openai_error(429, "insufficient_quota")], "quota", 429),
        ([openai_error(401)], "auth", 401),
        ([openai_error(404, "model_not_found")], "model_gone", 404),
        ([reply(302, headers={"location": "http://127.0.0.1:1/"})], "unreachable", 302),
        ([Reset()], "unreachable", None),
        ([reply(200, b"<html>")], "bad_output", 200),
        ([openai_answer("  ")], "bad_output", 200),
    ],
)
def test_a_failure_of_each_kind_falls_back(
    tmp_path: Path, ask: Ask, failure: Script, error: str, status: int | None
) -> None:
    with serving(failure) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        assert ask(house.service(), model=OPENAI)[1].provider == "anthropic"
        assert len(first.received) == 1
    assert house.rows() == [("openai", "failed", error, status, 1), ("anthropic", "ok", None, 200, 2)]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_short_wish_to_be_asked_again_is_granted(tmp_path: Path, ask: Ask, streaming: bool) -> None:
    answer = openai_stream("hi") if streaming else [openai_answer()]
    with serving(in_turn([openai_error(429, retry_after_ms="50")], answer)) as server:
        house = House(tmp_path, openai=server)
        ask(house.service(), streaming=streaming, model=OPENAI)
    assert [row[1:3] for row in house.rows()] == [("failed", "rate_limit"), ("ok", None)]


@pytest.mark.parametrize(
    ("failure", "kind", "exit_code"),
    [
        ([openai_error(400)], BadRequestError, 2),
        ([openai_answer(finish="content_filter")], ContentError, 6),
        ([openai_error(401)], AuthenticationError, 3),
    ],
)
def test_a_single_failed_attempt_is_raised_as_it_is(
    tmp_path: Path, ask: Ask, failure: Script, kind: type[LLMRouteError], exit_code: int
) -> None:
    with serving(failure) as server:
        house = House(tmp_path, openai=server)
        with pytest.raises(kind) as caught:
            ask(house.service(), model=OPENAI, enable_fallback=False)
        assert len(server.received) == 1
    assert caught.value.exit_code == exit_code
    assert [(each.provider, each.status, each.error) for each in caught.value.attempts] == [
        ("openai", "failed", kind.kind)
    ]
    assert house.rows("status, error") == [("failed", kind.kind)]


def test_several_failed_attempts_become_one_error_that_names_each(tmp_path: Path, ask: Ask) -> None:
    with serving([openai_error(503, retry_after_ms="10")]) as server:
        house = House(tmp_path, openai=server)
        with pytest.raises(AllProvidersFailedError) as caught:
            ask(house.service(), model=OPENAI, enable_fallback=False)
    error = caught.value
    assert (error.exit_code, len(error.attempts)) == (4, 2)
    assert error.message.count("openai/gpt-4.1-mini: provider error (503)") == 2
    assert isinstance(error.__cause__, TransientError)
    assert str(error.hint).startswith("try again")
    assert KEY not in error.message + str(error.hint) + repr(error.attempts)


def test_a_closed_door_says_so(tmp_path: Path, ask: Ask) -> None:
    house = House(tmp_path)
    with pytest.raises(UnreachableError):
        ask(house.service(), model="ollama/llama3.2", enable_fallback=False)
    assert house.rows("status, error, cost_picousd, input_tokens") == [("failed", "unreachable", 0, None)]


def test_the_deadline_is_for_all_attempts_together(tmp_path: Path, ask: Ask) -> None:
    with serving([Pause(60)]) as first, serving([Pause(60)]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        started = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            ask(house.service(), model=OPENAI, timeout_s=4)
        assert time.monotonic() - started < BOUNDED_S
        assert len(first.received) >= 1
        assert len(second.received) >= 1
    assert caught.value.exit_code == 7
    assert len(caught.value.attempts) == len(house.rows()) >= 2
    assert {row[1:3] for row in house.rows()} == {("failed", "timeout")}
    # What a provider may have worked on may have to be paid for.
    assert all(cost > 0 for (cost,) in house.rows("cost_picousd"))


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param([Drip(openai_answer("x" * 1000), 0.05)], id="a dripping head"),
        pytest.param([chunked_head(), Drip(chunk(b": still here\n\n") * 200, 0.03)], id="comments and no text"),
    ],
)
def test_a_provider_that_drips_does_not_outlive_the_deadline(tmp_path: Path, ask: Ask, slow: Script) -> None:
    with serving(slow) as server:
        house = House(tmp_path, openai=server)
        started = time.monotonic()
        with pytest.raises(LLMRouteError) as caught:
            ask(house.service(), streaming=True, model=OPENAI, enable_fallback=False, timeout_s=4)
        assert time.monotonic() - started < BOUNDED_S
    assert caught.value.exit_code == 7
    assert [row[1:3] for row in house.rows()] == [("failed", "timeout")]


def test_the_deadline_holds_for_the_only_attempt_too(tmp_path: Path, ask: Ask) -> None:
    with serving([Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        with pytest.raises(DeadlineError):
            ask(house.service(), model=OPENAI, timeout_s=5.0, enable_fallback=False)
    [(latency_ms,)] = house.rows("latency_ms")
    assert 2500 < latency_ms < BOUNDED_S * 1000, "not the half that is left to an attempt before others"


def test_a_stream_falls_back_until_text_was_shown(tmp_path: Path, ask: Ask) -> None:
    broken: Script = [chunked_head(), event({"error": {"message": "overloaded", "code": "server_error"}}), Pause(60)]
    with serving(in_turn(broken, openai_stream("all", " of it"))) as server:
        house = House(tmp_path, openai=server)
        pieces, response = ask(house.service(), streaming=True, model=OPENAI)
        assert server.wait_until_idle()
    assert pieces == ["all", " of it"]
    assert [each.status for each in response.attempts] == ["failed", "ok"]


def test_a_broken_stream_is_let_go_before_another_is_asked(tmp_path: Path, ask: Ask) -> None:
    left_open: list[int] = []

    def answer(_received: Received) -> Script:
        if len(server.received) == 1:
            return [chunked_head(), event("{nonsense"), Pause(60)]
        wait_until(lambda: server.open_connections == 1)
        left_open.append(server.open_connections - 1)
        return openai_stream("whole")

    with serving(answer) as server:
        assert ask(House(tmp_path, openai=server).service(), streaming=True, model=OPENAI)[0] == ["whole"]
    assert left_open == [0]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param([Reset()], id="reset"),
        pytest.param([chunk(b"")], id="ended without its end"),
        pytest.param([event({"error": {"message": "boom"}})], id="an error inside"),
        pytest.param([event("{nonsense"), Pause(60)], id="nonsense"),
    ],
)
def test_a_stream_that_breaks_after_text_was_shown_is_never_spliced(tmp_path: Path, ask: Ask, end: Script) -> None:
    with serving([chunked_head(), delta("Half an ans"), *end]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        with pytest.raises(IncompleteAnswerError) as caught:
            ask(house.service(), streaming=True, model=OPENAI)
        assert len(first.received) == 1
        assert second.received == []
        assert first.wait_until_idle()
    assert caught.value.exit_code == 6
    assert [each.status for each in caught.value.attempts] == ["partial"]
    [(status, source, output, cost)] = house.rows("status, usage_source, output_tokens, cost_picousd")
    expected = house.service().plan(Options(prompt="x", model=OPENAI)).entries[0].candidate.output.tokens
    assert (status, source, output) == ("partial", "estimated", expected)
    assert cost > 0


def test_a_stall_after_text_was_shown_is_a_partial_answer(tmp_path: Path, ask: Ask) -> None:
    with serving([chunked_head(), delta("Half"), Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        (tmp_path / "config.toml").write_text("[timeouts]\nstall_s = 0.2\n")
        with pytest.raises(IncompleteAnswerError) as caught:
            ask(house.service(), streaming=True, model=OPENAI)
    assert isinstance(caught.value.__cause__, ProviderTimeoutError)
    assert house.rows("status, error") == [("partial", "timeout")]


def test_an_answer_that_was_all_reasoning_says_so_and_is_not_asked_for_again(
    tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock
) -> None:
    mock(httpx_mock, "openai", [openai_answer("", finish="length")])
    house = elsewhere(tmp_path, "openai")
    with pytest.raises(BadOutputError, match="all its tokens went into reasoning"):
        ask(house.service(), model=OPENAI, enable_fallback=False)
    assert len(httpx_mock.get_requests()) == 1
    # It was billed all the same, as the provider told.
    assert house.rows("status, usage_source, output_tokens") == [("failed", "reported", 5)]


def test_what_a_model_does_not_take_is_left_out_with_a_note(tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock) -> None:
    mock(httpx_mock, "openai", [openai_answer()])
    house = elsewhere(tmp_path, "openai")
    ask(house.service(), model=OPENAI, effort="high")
    [sent] = httpx_mock.get_requests()
    assert b"effort" not in sent.content
    assert house.notes == [f"{OPENAI} takes no effort; sent without"]


def test_both_ways_of_asking_leave_the_same_rows(tmp_path: Path) -> None:
    columns = (
        "attempt, status, error, http_status, provider, model, served_model, provider_request_id, strategy, streaming,"
        " input_tokens, output_tokens, usage_source, price, price_as_of, reserved_picousd, cost_picousd, finish_reason"
    )
    told = []
    for name, ask in (("blocking", ask_blocking), ("awaiting", ask_awaiting)):
        folder = tmp_path / name
        folder.mkdir()
        scripts: list[Script] = [openai_stream("a", "b"), [openai_error(500)], [Reset()]]
        with serving(in_turn(*scripts)) as first, serving([anthropic_answer()]) as second:
            house = House(folder, openai=first, anthropic=second)
            ask(house.service(), model=OPENAI, streaming=True)
            ask(house.service(), model=OPENAI)
            ask(house.service(), model=OPENAI)
        told.append((house.rows(columns), house.notes))
    assert told[0] == told[1]
    assert len(told[0][0]) == 5


def test_leaving_a_stream_in_the_middle_settles_it_as_interrupted(tmp_path: Path) -> None:
    with serving([chunked_head(), delta("Half an answer"), Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        answer = service.answer(Options(prompt="x", model=OPENAI), streaming=True)
        assert next(answer) == "Half an answer"
        assert house.rows("status") == [("pending",)]
        answer.close()
        # What the provider went on to write was not seen.
        expected = service.plan(Options(prompt="x", model=OPENAI)).entries[0].candidate.output.tokens
        assert house.rows("status, usage_source, output_tokens") == [("interrupted", "estimated", expected)]
        assert server.wait_until_idle()
        service.close()
    assert house.rows("cost_picousd > 0") == [(1,)]


def test_leaving_an_awaited_stream_in_the_middle_settles_it_before_the_leave_returns(tmp_path: Path) -> None:
    async def main(house: House) -> None:
        async with house.service() as service:
            stream = service.stream_generate("x", model=OPENAI)
            assert await anext(stream.__aiter__()) == "Half"
            with pytest.raises(LLMRouteError, match="available after its last chunk"):
                _ = stream.response
            await stream.aclose()
            assert house.rows("status, usage_source") == [("interrupted", "estimated")]

    with serving([chunked_head(), delta("Half"), Pause(60)]) as server:
        asyncio.run(main(House(tmp_path, openai=server)))
        assert server.wait_until_idle()


class Signalled(BaseException):
    """As a signal handler would raise it."""


@pytest.mark.parametrize("streaming", [False, True])
def test_a_signal_in_the_middle_of_a_read_settles_the_row_and_passes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    from llmroute.transport.client import Exchange

    def interrupted(_self: object, _within_s: float) -> bytes:
        raise Signalled

    with serving([chunked_head(), delta("Half"), Pause(60)]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        monkeypatch.setattr(Exchange, "read", interrupted)
        with pytest.raises(Signalled):
            list(service.answer(Options(prompt="x", model=OPENAI), streaming=streaming))
        service.close()
        assert server.wait_until_idle()
    assert house.rows("status, attempt") == [("interrupted", 1)]


def test_a_signal_before_anything_was_sent_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Endpoints.connect

    def interrupted(self: Endpoints, name: str) -> object:
        if name == "openai":
            raise Signalled
        return connect(self, name)

    with serving([openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        monkeypatch.setattr(Endpoints, "connect", interrupted)
        with pytest.raises(Signalled):
            list(service.answer(Options(prompt="x", model=OPENAI), streaming=False))
        service.close()
        assert server.received == []
    assert house.rows("status, cost_picousd, input_tokens") == [("interrupted", 0, None)]


def test_a_reader_who_leaves_after_the_response_finds_it_settled(tmp_path: Path) -> None:
    with serving([openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        answer = service.answer(Options(prompt="x", model=OPENAI), streaming=False)
        assert isinstance(next(answer), LLMResponse)
        answer.close()
        service.close()
    assert house.rows("status, usage_source") == [("ok", "reported")]


@pytest.mark.parametrize(
    "script", [[Pause(60)], [chunked_head(), delta("Half"), Pause(60)]], ids=["before the head", "within the body"]
)
def test_cancelling_settles_the_row_once(tmp_path: Path, script: Script) -> None:
    async def main(house: House) -> None:
        async with house.service() as service:
            task = asyncio.create_task(service.generate("x", model=OPENAI))
            await asyncio.to_thread(server.wait_until_asked)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert house.rows("status, attempt, cost_picousd > 0") == [("interrupted", 1, 1)]

    with serving(script) as server:
        house = House(tmp_path, openai=server)
        asyncio.run(main(house))
        assert len(server.received) == 1
        assert server.wait_until_idle()
    assert house.notes == []


def test_cancelling_at_any_moment_leaves_no_row_pending_and_warns_of_nothing(tmp_path: Path) -> None:
    async def main(house: House) -> None:
        async with house.service() as service:
            for moment in range(30):
                task = asyncio.create_task(service.generate("x", model=OPENAI))
                await asyncio.sleep(moment * 0.001)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.sleep(0.1)

    with serving([Pause(0.005), openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        asyncio.run(main(house))
    assert {status for (status,) in house.rows("status")} <= {"ok", "interrupted"}
    assert house.notes == []


def test_a_hundred_requests_at_once_make_a_hundred_rows(tmp_path: Path) -> None:
    async def main(house: House) -> list[LLMResponse]:
        async with house.service() as service:
            return await asyncio.gather(*(service.generate(f"{n}", model=OPENAI) for n in range(100)))

    with serving([Pause(0.02), openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        responses = asyncio.run(main(house))
        assert len(server.received) == 100
    assert len({response.request_id for response in responses}) == 100
    assert house.rows("count(*), sum(status = 'ok'), sum(attempt)") == [(100, 100, 100)]
    assert house.rows("sum(cost_usd)")[0][0] == pytest.approx(sum(each.cost_usd or 0 for each in responses))
    assert house.notes == []


def test_a_ledger_that_cannot_be_written_costs_a_warning_and_not_the_answer(tmp_path: Path, ask: Ask) -> None:
    with serving(in_turn([openai_error(500)], [openai_answer("Hello!")])) as server:
        house = House(tmp_path, openai=server)
        service = house.service(LLMROUTE_LEDGER=str(tmp_path / "taken"))
        (tmp_path / "taken").mkdir()
        _, response = ask(service, model=OPENAI, enable_fallback=False)
    assert response.content == "Hello!"
    assert response.cost_usd
    [warning] = house.notes
    assert warning.startswith("warning: this call is not in the ledger")
    assert "it is a directory" in warning


def test_a_label_that_no_column_holds_costs_a_warning_and_not_the_answer(tmp_path: Path, ask: Ask) -> None:
    with serving([openai_answer("Hello!")]) as server:
        house = House(tmp_path, openai=server)
        assert ask(house.service(LLM_WORKSPACE="caf\udce9"), model=OPENAI)[1].content == "Hello!"
    assert house.notes == ["LLM_WORKSPACE in the environment is not valid UTF-8: calls are recorded under 'caf\ufffd'"]
    [(workspace, cost)] = house.rows("workspace, cost_picousd")
    assert (workspace, cost > 0) == ("caf\ufffd", True)
    assert not (tmp_path / "ledger.db.spool").exists()


@pytest.mark.parametrize("label", ["\udcff", ["x"], 7])
def test_a_label_that_is_asked_for_and_cannot_be_kept_is_refused_before_anything_is_sent(
    label: Any, tmp_path: Path, ask: Ask
) -> None:
    with serving([openai_answer("Hello!")]) as server:
        house = House(tmp_path, openai=server)
        with pytest.raises(RequestError, match=r"execution_id(:| is) .* is not (valid )?text"):
            ask(house.service(), model=OPENAI, execution_id=label)
        assert server.received == []


@pytest.mark.parametrize(
    ("model", "problem"),
    [("gpt\0", "is not valid text"), ("gpt\udcff", "is not valid text"), ("m" * 257, "has 257 characters")],
)
def test_a_model_whose_name_no_ledger_can_store_is_refused_before_anything_is_sent(
    model: str, problem: str, tmp_path: Path, ask: Ask
) -> None:
    with serving([openai_answer("Hello!")]) as server:
        service = House(tmp_path, openai=server).service()
        with pytest.raises(RequestError, match=f"the name of the model .*{problem}"):
            ask(service, model=f"openai/{model}")
        with pytest.raises(RequestError, match=f"the name of the model .*{problem}"):
            service.track_usage("openai", model, success=True, latency_ms=1)
        assert server.received == []


def test_a_lent_ledger_is_used_and_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([openai_answer()]) as server, Ledger(tmp_path / "lent.db") as lent:
        for name, value in House(tmp_path, openai=server).environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        ask_blocking(get_llm_service(ledger=lent), model=OPENAI)
        ask_blocking(get_llm_service(ledger=lent), model=OPENAI)
        assert lent.db.execute("SELECT count(*) FROM attempts").fetchone() == (2,)
    assert not (tmp_path / "ledger.db").exists()


def test_a_busy_ledger_is_waited_for(tmp_path: Path, ask: Ask) -> None:
    with serving([openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        Ledger(tmp_path / "ledger.db").close()
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.4, lambda: other.execute("COMMIT"))
        timer.start()
        ask(house.service(), model=OPENAI)
        timer.join()
        other.close()
    assert [row[1] for row in house.rows()] == ["ok"]
    assert house.notes == []


def test_keys_and_prompts_are_in_no_trace_and_in_no_row(tmp_path: Path, ask: Ask, httpx_mock: HTTPXMock) -> None:
    mock(httpx_mock, "openai", [openai_error(401, KEY)])
    house = elsewhere(tmp_path, "openai")
    with pytest.raises(AuthenticationError) as caught:
        ask(house.service(), model=OPENAI, prompt="a private matter", enable_fallback=False)
    told = " ".join(house.traces) + " ".join(house.notes) + str(caught.value) + str(house.rows("*"))
    assert len(house.traces) == 2
    assert KEY not in told
    assert "private" not in told


def test_without_any_key_a_person_is_told_what_is_missing(tmp_path: Path, ask: Ask) -> None:
    house = House(tmp_path)
    with pytest.raises(NoCandidateError, match=r"openai: no API key \(set OPENAI_API_KEY\)") as caught:
        ask(house.service(), model=OPENAI)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "ledger.db").exists()


def test_a_retired_model_is_its_successor_elsewhere_and_itself_behind_a_gateway(tmp_path: Path, ask: Ask) -> None:
    with serving([openai_answer()]) as server:
        house = House(tmp_path, openai=server)
        assert ask(house.service(), model="openai/gpt-4")[1].model == "gpt-4"
        assert b'"model":"gpt-4"' in server.received[0].body
    home = House(tmp_path)
    plan = home.service(OPENAI_API_KEY=KEY).plan(Options(prompt="x", model="openai/gpt-4"))
    assert plan.entries[0].model.id == "gpt-5.6-sol"
    assert "gpt-4 was retired" in home.notes[-1]


def test_the_second_of_a_plan_is_another_provider_also_when_the_first_was_named(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
    service = House(tmp_path).service(**keys)
    for options in (
        Options(prompt="x", model=OPENAI),
        Options(prompt="x", model=ANTHROPIC),
        Options(prompt="x", provider="openai"),
        Options(prompt="x"),
    ):
        entries = service.plan(options).entries
        assert entries[0].model.provider != entries[1].model.provider
        assert len({entry.model.name for entry in entries}) == len(entries)
    assert len(service.plan(Options(prompt="x", model=OPENAI, enable_fallback=False)).entries) == 1


def test_local_only_never_leaves_the_machine(tmp_path: Path) -> None:
    house = House(tmp_path)
    service = house.service(OPENAI_API_KEY=KEY, OLLAMA_BASE_URL="http://127.0.0.1:1")
    for options in (
        Options(prompt="x", local_only=True),
        Options(prompt="x", model="ollama/llama3.2", local_only=True),
    ):
        with suppress(NoCandidateError):
            assert all(entry.candidate.local for entry in service.plan(options).entries)
    with pytest.raises(RequestError, match="does not run on this machine"):
        service.plan(Options(prompt="x", model=OPENAI, local_only=True))
    with pytest.raises(RequestError, match="does not run on this machine"):
        service.plan(Options(prompt="x", model="ollama/gpt-oss:120b-cloud", local_only=True))
    service.close()
    away = house.service(OLLAMA_BASE_URL="http://models.example:11434")
    with pytest.raises(RequestError, match="does not run on this machine"):
        away.plan(Options(prompt="x", model="ollama/llama3.2", local_only=True))
    away.close()


def test_a_local_server_that_drips_does_not_hold_a_plan_up(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    with serving([head, Drip(b" " * 100_000, 0.1)]) as server:
        service = House(tmp_path).service(OLLAMA_BASE_URL=server.url, OPENAI_API_KEY=KEY)
        started = time.monotonic()
        plan = service.plan(Options(prompt="x"))
        assert time.monotonic() - started < BOUNDED_S
        service.close()
    assert all(entry.model.provider == "openai" for entry in plan.entries)


def test_what_no_model_may_serve_names_the_nearest_and_what_admits_it(tmp_path: Path) -> None:
    service = House(tmp_path).service(OPENAI_API_KEY=KEY)
    with pytest.raises(NoCandidateError, match="the nearest is openai/") as caught:
        service.plan(Options(prompt="x", min_quality=100, provider="openai"))
    (remedy,) = caught.value.remedies
    assert caught.value.hint == f"min_quality={remedy.value} would admit it"
    admitted = service.plan(Options(prompt="x", min_quality=int(remedy.value or 0), provider="openai"))
    assert admitted.entries
    service.close()
