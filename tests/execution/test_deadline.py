"""The deadline of a request, whatever a server sends meanwhile: plain and streamed, blocking and awaited."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest

from llmroute import exit_codes
from llmroute.config import Timeouts
from llmroute.errors import DeadlineError, IncompleteAnswerError, ProviderTimeoutError
from llmroute.registry import ModelRegistry
from llmroute.routing.attempt_loop import LEAST_PART, LEAST_S
from llmroute.transport.network.dns import ResolvingNetwork
from llmroute.transport.requests import built
from llmroute.types import HTTPRequest
from tests.support.fault_server import Drip, Pause, chunk, reply
from tests.support.model_server import ModelServer
from tests.support.provider_servers import KEY
from tests.support.shell import environment, run
from tests.support.wire_formats import FORMATS, MODEL, answer, head, opening, piece, town
from tests.wire.calling import call, config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fault_server import Script

BOTH = pytest.mark.parametrize("awaiting", [False, True], ids=["blocking", "awaiting"])
# A minute of either.
COMMENTS = [part for _ in range(3000) for part in (chunk(b": keep-alive\n\n"), Pause(0.02))]
EMPTY_LINES = [part for _ in range(3000) for part in (chunk(b"\n"), Pause(0.02))]
# Far more than it takes, less than the servers would.
BOUNDED_S = 30.0
LIMITS = Timeouts(total_s=100, connect_s=60, first_token_s=60, slow_first_token_s=60, stall_s=60)
SHORT_S = 0.4


@pytest.fixture(scope="module")
def registry() -> ModelRegistry:
    return ModelRegistry()


def keep_alives(name: str) -> list[Any]:
    return EMPTY_LINES if name == "ollama" else COMMENTS


def serving_first(script: Script, first: str = "openai") -> Callable[[str, dict[str, Any]], Script]:
    return lambda who, asked: script if who == first else answer(who, "healthy", streaming=bool(asked.get("stream")))


@BOTH
@pytest.mark.parametrize("name", FORMATS)
def test_keep_alives_put_off_neither_the_first_token_nor_a_stall(
    name: str, awaiting: bool, tmp_path: Path, registry: ModelRegistry
) -> None:
    silent = [head(name), opening(name), *keep_alives(name)]
    stalling = [head(name), opening(name), piece(name, "Half"), *keep_alives(name)]
    cases = (
        (silent, LIMITS._replace(first_token_s=SHORT_S, slow_first_token_s=SHORT_S), ProviderTimeoutError),
        (stalling, LIMITS._replace(stall_s=SHORT_S), IncompleteAnswerError),
    )
    for number, (script, limits, kind) in enumerate(cases):
        with town(serving_first(script, name)) as here:
            began = time.monotonic()
            outcome = call(
                config(tmp_path / str(number), here.urls, limits),
                registry,
                streaming=True,
                awaiting=awaiting,
                label="x",
                model=MODEL[name],
            )
            assert time.monotonic() - began < BOUNDED_S
        assert isinstance(outcome.error, kind)
        assert outcome.row["error"] == "timeout"


@BOTH
@pytest.mark.parametrize("streaming", [False, True], ids=["plain", "streamed"])
def test_a_dripping_answer_leaves_a_healthy_fallback_its_time(
    awaiting: bool, streaming: bool, tmp_path: Path, registry: ModelRegistry
) -> None:
    body = b'{"id": "c1", "choices": [' + b" " * 2000
    dripping: Script = (
        [head("openai"), Drip(b"1\r\n:\r\n" * 500, 0.01)]
        if streaming
        else [reply(200, body)[: -len(body)], Drip(body, 0.01)]
    )
    with town(serving_first(dripping)) as here:
        outcome = call(
            config(tmp_path / "home", here.urls, Timeouts(total_s=4)),
            registry,
            streaming=streaming,
            awaiting=awaiting,
            label="x",
            model=MODEL["openai"],
            fallback=[MODEL["mistral"]],
            enable_fallback=True,
        )
    assert outcome.response is not None, outcome.error
    assert outcome.response.content == "healthy"
    assert [(row["provider"], row["error"]) for row in outcome.rows] == [("openai", "timeout"), ("mistral", None)]


@BOTH
def test_a_dripping_answer_ends_with_the_deadline_where_nothing_else_is_left(
    awaiting: bool, tmp_path: Path, registry: ModelRegistry
) -> None:
    body = b'{"choices": [' + b" " * 3000
    with town(serving_first([reply(200, body)[: -len(body)], Drip(body, 0.02)])) as here:
        began = time.monotonic()
        outcome = call(
            config(tmp_path / "home", here.urls, Timeouts(total_s=2)),
            registry,
            streaming=False,
            awaiting=awaiting,
            label="x",
            model=MODEL["openai"],
        )
        assert time.monotonic() - began < BOUNDED_S
    assert isinstance(outcome.error, DeadlineError)
    assert outcome.row["error"] == "timeout"


def test_a_deadline_that_nothing_could_meet_is_told_as_such_and_blames_no_provider(tmp_path: Path) -> None:
    with town(serving_first(answer("openai", "well", streaming=False))) as here:
        settings = {"OPENAI_BASE_URL": here.urls["openai"], "OPENAI_API_KEY": KEY}
        for _ in range(4):
            ran = run("gen", "hi", "-m", MODEL["openai"], "--timeout", "0.001", home=tmp_path, **settings)
            assert (ran.code, ran.out) == (7, "")
            assert "within 0.001 s" in ran.err
            assert "--timeout" in ran.err
            assert "no data for" not in ran.err
        assert run("gen", "hi", "-m", MODEL["openai"], home=tmp_path, **settings).err == ""


@pytest.mark.parametrize("left_s", [0.001, 0.4, 2.0, 300.0])
def test_what_has_no_connection_when_the_time_is_over_has_met_the_deadline(left_s: float) -> None:
    request = HTTPRequest("POST", "https://slow.example/v1", {}, b"{}")
    with httpx.Client() as client:
        timeout = built(client, request, connect_s=left_s, answer_s=0.0, pool_s=left_s).extensions["timeout"]
    for name in ("connect", "pool"):
        assert 0 < left_s - timeout[name] < min(LEAST_S, LEAST_PART * left_s)


SLOW_NAMES = """
import socket, time
look_up = socket.getaddrinfo
def slow(host, *rest, **more):
    if host in ("slow.example", b"slow.example"):
        time.sleep(120)
    return look_up(host, *rest, **more)
socket.getaddrinfo = slow
from llmroute.__main__ import run
run()
"""


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
def test_a_silent_resolver_holds_up_neither_the_answer_nor_the_end_of_the_program(tmp_path: Path, batch: bool) -> None:
    (tmp_path / "in.txt").write_text("one\n")
    asked = ("--batch", "in.txt", "--lines") if batch else ("hi",)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SLOW_NAMES, "gen", *asked, "-m", MODEL["openai"], "--timeout", "2", "--no-fallback"],
        env=environment(tmp_path, OPENAI_BASE_URL="https://slow.example/v1", OPENAI_API_KEY=KEY),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert time.monotonic() - began < BOUNDED_S
    assert done.returncode in (4, 7), done.stderr


def test_a_name_with_many_addresses_is_connected_to_by_the_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # Nothing listens at the first two.
        told = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (2, 3, 1)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_rest, **_more: told)

        async def connected() -> Any:
            stream = await ResolvingNetwork().connect_tcp("many.example", port, timeout=5)
            peer = stream.get_extra_info("server_addr")
            await stream.aclose()
            return peer

        assert asyncio.run(connected())[0] == "127.0.0.1"


def test_a_fault_of_the_connection_to_an_address_is_no_reason_to_look_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_rest: Any, **_more: Any) -> Any:
        raise ValueError("no such option")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_rest, **_more: pytest.fail("looked up"))
    with pytest.raises(ValueError, match="no such option"):
        asyncio.run(ResolvingNetwork().connect_tcp("127.0.0.1", 9, timeout=5))


def test_the_flex_tier_is_waited_for_beyond_the_usual_first_token(tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text("[timeouts]\nfirst_token_s = 0.3\nstall_s = 5\n")
    with ModelServer(words=("late",), pause_s=2.4) as server:
        arguments = ("stream", "hi", "-m", "openai/gpt-5.4-mini", "--no-fallback")
        assert run(*arguments, home=tmp_path, **server.settings).code == exit_codes.TRY_LATER
        assert run(*arguments, "--tier", "flex", home=tmp_path, **server.settings).code == exit_codes.OK
