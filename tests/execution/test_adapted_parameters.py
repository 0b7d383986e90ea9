"""A parameter that a model refuses is put otherwise once, or left to one that takes it; and who may stand in at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import AllProvidersFailedError, ParameterError, RequestError
from llmroute.providers.errors.parser import ErrorParser
from llmroute.request.options import Options
from llmroute.routing.parameters import adaptation
from llmroute.types import LLMResponse, Prompt
from tests.support.fault_server import Pause, Reset, Script, chunk, chunked_head, reply, serving
from tests.support.mocked_providers import ADDRESS, elsewhere, mock
from tests.support.provider_servers import (
    ANTHROPIC,
    KEY,
    OPENAI,
    House,
    anthropic_answer,
    delta,
    openai_answer,
    openai_error,
    openai_stream,
)
from tests.support.shell import rows, run
from tests.support.wire_formats import Town, answer, error, town

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from pytest_httpx import HTTPXMock

UNSUPPORTED = "Unsupported parameter: '{0}' is not supported with this model. Use '{1}' instead."
OLD, NEW = "max_tokens", "max_completion_tokens"


def ask(house: House, *, streaming: bool = False, **asked: Any) -> tuple[list[str], LLMResponse]:
    service = house.service()
    pieces: list[str] = []
    try:
        for piece in service.answer(Options(**({"prompt": "x", "model": OPENAI} | asked)), streaming=streaming):
            if isinstance(piece, LLMResponse):
                return pieces, piece
            pieces.append(piece)
    finally:
        service.close()
    raise AssertionError


def sent(httpx_mock: HTTPXMock, provider: str) -> list[dict[str, Any]]:
    """Return the bodies of what was sent to a provider."""
    return [json.loads(request.content) for request in httpx_mock.get_requests(url=ADDRESS[provider])]


def refusing(name: str, message: str, then: Script) -> Callable[[httpx.Request], Script]:
    """Refuse a request that has the parameter, and answer every other."""

    def respond(request: httpx.Request) -> Script:
        body = json.loads(request.content)
        fault = {"error": {"message": message, "type": "invalid_request_error", "param": name, "code": "unsupported"}}
        # As the vendors do to a 400: the same request would not fare better.
        told = {"x-should-retry": "false"}
        return [reply(400, json.dumps(fault).encode(), headers=told)] if name in body else then

    return respond


@pytest.mark.parametrize(("model", "name", "other"), [("openai/gpt-4o", OLD, NEW), ("openai/gpt-5.4-mini", NEW, OLD)])
def test_a_limit_goes_out_under_its_other_name(
    tmp_path: Path, httpx_mock: HTTPXMock, model: str, name: str, other: str
) -> None:
    mock(httpx_mock, "openai", refusing(name, UNSUPPORTED.format(name, other), [openai_answer()]))
    house = elsewhere(tmp_path, "openai")
    _, response = ask(house, model=model, max_tokens=50, enable_fallback=False)
    bodies = sent(httpx_mock, "openai")
    assert [(name in body, body.get(other)) for body in bodies] == [(True, None), (False, 50)]
    assert bodies[0].keys() - {name} == bodies[1].keys() - {other}
    assert [attempt.error for attempt in response.attempts] == ["parameter", None]
    assert house.notes == []


def test_stream_options_are_left_out_where_they_are_refused(tmp_path: Path, httpx_mock: HTTPXMock) -> None:
    message = "Unrecognized request argument supplied: stream_options"
    mock(httpx_mock, "openai", refusing("stream_options", message, openai_stream("a", "b")))
    pieces, response = ask(elsewhere(tmp_path, "openai"), streaming=True, enable_fallback=False)
    assert ["stream_options" in body for body in sent(httpx_mock, "openai")] == [True, False]
    assert (pieces, response.content) == (["a", "b"], "ab")


TOO_LONG = "max_tokens: {sent} > 4096, which is the maximum allowed number of output tokens for this model"


def too_long(request: httpx.Request) -> Script:
    asked = json.loads(request.content)
    if asked.get("max_tokens", 0) > 4096:
        return error("anthropic", 400, TOO_LONG.format(sent=asked["max_tokens"]))
    return answer("anthropic", "Bonjour!", streaming=bool(asked.get("stream")))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_limit_that_only_we_filled_in_is_lowered_to_what_the_message_says(
    tmp_path: Path, httpx_mock: HTTPXMock, streaming: bool
) -> None:
    mock(httpx_mock, "anthropic", too_long)
    house = elsewhere(tmp_path, "anthropic")
    _, response = ask(house, streaming=streaming, model=ANTHROPIC, enable_fallback=False)
    assert [body["max_tokens"] for body in sent(httpx_mock, "anthropic")] == [16_000, 4096]
    assert response.content == "Bonjour!"


def test_a_limit_that_the_user_set_is_never_lowered_but_left_to_a_model_that_takes_it(
    tmp_path: Path, httpx_mock: HTTPXMock
) -> None:
    mock(httpx_mock, "anthropic", too_long)
    mock(httpx_mock, "openai", [openai_answer()])
    house = elsewhere(tmp_path, "anthropic", "openai")
    assert ask(house, model=ANTHROPIC, max_tokens=9000, fallback=(OPENAI,))[1].provider == "openai"
    assert [body["max_tokens"] for body in sent(httpx_mock, "anthropic")] == [9000]
    with pytest.raises(ParameterError) as caught:
        ask(house, model=ANTHROPIC, max_tokens=9000, enable_fallback=False)
    assert caught.value.exit_code == 2


def test_a_refused_temperature_goes_to_a_model_that_takes_it(tmp_path: Path, httpx_mock: HTTPXMock) -> None:
    message = "Unsupported value: 'temperature' does not support 0.5 with this model."
    fault = {"error": {"message": message, "param": "temperature", "code": "unsupported_value"}}
    mock(httpx_mock, "openai", [reply(400, json.dumps(fault).encode())])
    mock(httpx_mock, "anthropic", [anthropic_answer()])
    house = elsewhere(tmp_path, "openai", "anthropic")
    assert ask(house, temperature=0.5, fallback=("openai/gpt-5", ANTHROPIC))[1].provider == "anthropic"
    assert len(sent(httpx_mock, "openai")) == 1, "not sent again, and not to one that takes no temperature either"
    assert [body["temperature"] for body in sent(httpx_mock, "anthropic")] == [0.5]


def test_an_adaptation_is_tried_once(tmp_path: Path, httpx_mock: HTTPXMock) -> None:
    def respond(request: httpx.Request) -> Script:
        name = NEW if NEW in json.loads(request.content) else OLD
        return refusing(name, UNSUPPORTED.format(name, "another"), [])(request)

    mock(httpx_mock, "openai", respond)
    with pytest.raises(AllProvidersFailedError) as caught:
        ask(elsewhere(tmp_path, "openai"), max_tokens=50, enable_fallback=False)
    assert len(sent(httpx_mock, "openai")) == 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("message", "maximum"),
    [
        ("max_tokens: 16000 > 4096, which is the maximum allowed number of output tokens", 4096),
        ("max_tokens is too large: 16000. This model supports at most 8,192 completion tokens", 8192),
        ("`max_tokens` must be less than or equal to `8192`", None),
        ("max_tokens must be less than or equal to 8192, the maximum value", 8192),
        ("max_tokens: 16000 > 0", None),
        ("max_tokens is wrong", None),
    ],
)
def test_a_maximum_is_read_from_the_message(message: str, maximum: int | None) -> None:
    body = json.dumps({"error": {"message": message, "param": OLD}}).encode()
    refusal = ErrorParser("openai").from_response(400, {}, body)
    assert isinstance(refusal, ParameterError)
    found = adaptation(refusal, {OLD: 16_000}, Prompt(()))
    assert (found.max_tokens if found else None) == maximum
    assert adaptation(refusal, {OLD: 16_000}, Prompt((), max_tokens=16_000)) is None


FAILURES = {
    "openai: key refused (401)": [openai_error(401)],
    "openai: no credit (429)": [openai_error(429, "insufficient_quota")],
    f"{OPENAI}: model gone (404)": [openai_error(404, "model_not_found")],
}


@pytest.mark.parametrize("what", FAILURES)
def test_what_needs_a_person_is_warned_of_but_not_under_quiet(tmp_path: Path, what: str) -> None:
    with serving(FAILURES[what]) as first, serving([anthropic_answer()]) as second:
        settings = House(tmp_path, openai=first, anthropic=second).environ
        del settings["LLMROUTE_CONFIG_DIR"]
        asking = ("gen", "x", "-m", OPENAI, "--fallback", ANTHROPIC)
        (tmp_path / "loud").mkdir()
        ran = run(*asking, home=tmp_path / "loud", **settings)
        assert (ran.code, ran.out) == (0, "Bonjour!\n")
        assert ran.err.startswith(f"llmroute: warning: {what}, using {ANTHROPIC}")
        (tmp_path / "quiet").mkdir()
        quiet = run(*asking, "-q", "--json", home=tmp_path / "quiet", **settings)
        assert quiet.err == ""
        kinds = {attempt["error"] for attempt in json.loads(quiet.out)["attempts"]}
        assert kinds & {"auth", "quota", "model_gone"}
        assert {row["error"] for row in rows(tmp_path / "quiet")} == kinds


def test_all_that_failed_are_named_in_json_too_with_the_time_to_try_again(tmp_path: Path) -> None:
    with serving([openai_error(429, retry_after="40")]) as first, serving([reply(529, b"{}")]) as second:
        settings = House(tmp_path, openai=first, anthropic=second).environ
        del settings["LLMROUTE_CONFIG_DIR"]
        ran = run(
            "gen", "x", "-m", OPENAI, "--fallback", ANTHROPIC, "--json", "--timeout", "9", home=tmp_path, **settings
        )
    told = json.loads(ran.out)["error"]
    assert ran.code == 4
    assert set(told) == {"type", "message", "hint", "attempts"}
    assert told["hint"] == "try again in 30 s"
    assert [(each["provider"], each["http_status"]) for each in told["attempts"]] == [
        ("openai", 429), ("anthropic", 529), ("anthropic", 529),
    ]  # fmt: skip
    assert f"{OPENAI}: rate limited (429)" in told["message"]
    assert f"{ANTHROPIC}: provider error (529)" in told["message"]


HALF: Script = [chunked_head(), delta("Half an "), Pause(0.1), Reset()]


def test_an_atomic_stream_falls_back_to_its_end_and_shows_only_what_is_whole(tmp_path: Path) -> None:
    filtered: Script = [
        chunked_head(),
        delta("Half "),
        delta("", "content_filter"),
        chunk(b"data: [DONE]\n\n"),
        chunk(b""),
    ]
    for number, begun in enumerate((HALF, filtered)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving(begun) as first, town(lambda who, _asked: answer(who, "All of it", streaming=True)) as here:
            house = House(folder, openai=first, anthropic=here.servers["anthropic"])
            settings = {key: value for key, value in house.environ.items() if key != "LLMROUTE_CONFIG_DIR"}
            asking = ("stream", "x", "-m", OPENAI, "--fallback", ANTHROPIC)
            assert run(*asking, home=folder, **settings).code == 6
            ran = run(*asking, "--atomic", "--fallback-on", "content", "--json", home=folder, **settings)
            told = [json.loads(line) for line in ran.out.splitlines()]
            assert ran.code == 0
            assert [one["type"] for one in told] == ["start", "delta", "delta", "end"]
            assert "".join(one["text"] for one in told[1:3]) == told[-1]["content"] == "All of it"
            assert told[-1]["ttft_ms"] is not None
            alone = run("stream", "x", "-m", OPENAI, "--no-fallback", "--atomic", home=folder, **settings)
            assert (alone.code in (4, 6), alone.out) == (True, "")
    assert run("gen", "x", "--fallback-on", "whim", home=tmp_path, OPENAI_API_KEY=KEY).code == 2


def test_an_atomic_stream_that_its_reader_leaves_is_paid_for_whole(tmp_path: Path) -> None:
    with serving(openai_stream("all", " of it")) as server:
        house = House(tmp_path, openai=server)
        service = house.service()
        pieces = service.answer(Options(prompt="x", model=OPENAI, atomic=True), streaming=True)
        assert next(pieces) == "all"
        pieces.close()
        service.close()
    assert house.rows("status, usage_source") == [("ok", "reported")]


def test_blank_lines_before_an_answer_do_not_bind_to_it(tmp_path: Path) -> None:
    blank: Script = [chunked_head(), delta("\n\n"), Pause(0.1), Reset()]
    with serving(blank) as first, town(lambda who, _asked: answer(who, "\n\nYes", streaming=True)) as here:
        house = House(tmp_path, openai=first, anthropic=here.servers["anthropic"])
        pieces, response = ask(house, streaming=True, fallback=(ANTHROPIC,))
    assert "".join(pieces) == response.content == "\n\nYes"


def free_local(who: str, asked: dict[str, Any]) -> Script:
    if who == "ollama":
        return error("ollama", 500, "llama runner process has terminated")
    return answer(who, "paid", streaming=bool(asked.get("stream")))


def local_first(here: Town, folder: Path) -> House:
    folder.mkdir()
    house = House(folder, openai=here.servers["openai"])
    house.environ["OLLAMA_BASE_URL"] = here.urls["ollama"]
    return house


def test_from_free_to_paid_is_told_with_its_price_and_can_be_forbidden(tmp_path: Path) -> None:
    with town(free_local) as here:
        house = local_first(here, tmp_path / "told")
        assert ask(house, model="ollama/llama3.2")[1].content == "paid"
        [note] = house.notes
        assert note.startswith("ollama/llama3.2: provider error (500) after 1 attempt, using openai/")
        assert " (about $0.0" in note
        forbidden = local_first(here, tmp_path / "forbidden")
        asked = len(here.bodies("openai"))
        with pytest.raises(AllProvidersFailedError):
            ask(forbidden, model="ollama/llama3.2", upgrade=False)
        assert len(here.bodies("openai")) == asked
        configured = local_first(here, tmp_path / "configured")
        (configured.folder / "config.toml").write_text("upgrade = false\n")
        with pytest.raises(AllProvidersFailedError):
            ask(configured, model="ollama/llama3.2")
        assert len(here.bodies("openai")) == asked


def test_local_only_never_leaves_whatever_fails(tmp_path: Path) -> None:
    with town(free_local) as here:
        house = local_first(here, tmp_path / "home")
        for model in ("ollama/llama3.2", None):
            service = house.service()
            plan = service.plan(Options(prompt="x", local_only=True, model=model))
            assert all(entry.candidate.local for entry in plan.entries)
            service.close()
        with pytest.raises((AllProvidersFailedError, RequestError)):
            ask(house, model="ollama/llama3.2", fallback=(OPENAI,), local_only=True)
        assert here.bodies("openai") == []
        assert here.bodies("ollama") != []
