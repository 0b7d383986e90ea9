"""What one process met, the next one knows: whom to leave alone, for how long, and who may try again."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import AllProvidersFailedError, NoCandidateError, TransientError
from llmroute.execution.accounting.ledger_access import LedgerAccess
from llmroute.request.options import Options
from llmroute.types import LLMResponse
from tests.support.fault_server import Pause, Reset, Script, Until, reply, serving
from tests.support.provider_servers import ANTHROPIC, KEY, OPENAI, House, anthropic_answer, openai_answer, openai_error
from tests.support.shell import LLMROUTE, environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.routing.plan import Plan

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
PAIR: dict[str, Any] = {"prompt": "x", "model": OPENAI, "fallback": (ANTHROPIC,)}


def ask(house: House, **asked: Any) -> LLMResponse:
    """Ask from a service of its own, as another process would."""
    service = house.service()
    try:
        [response] = service.answer(Options(**(PAIR | asked)), streaming=False)
    finally:
        service.close()
    assert isinstance(response, LLMResponse)
    return response


def plan_of(house: House, **environ: str) -> Plan:
    service = house.service(**environ)
    try:
        return service.plan(Options(**PAIR))
    finally:
        service.close()


def rests_ms(house: House) -> int:
    with closing(sqlite3.connect(house.folder / "ledger.db")) as db:
        [(until_ms,)] = db.execute("SELECT open_until_ms FROM breakers WHERE trips > 0").fetchall()
    return int(until_ms) - time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    ("failure", "calls", "least_ms", "most_ms"),
    [
        pytest.param([openai_error(429, retry_after="20")], 1, 15_000, 20_000, id="a rate limit that says how long"),
        pytest.param([openai_error(429)], 1, 25_000, 30_000, id="a rate limit that does not"),
        pytest.param([openai_error(429, "insufficient_quota")], 1, 14 * MINUTE_MS, 15 * MINUTE_MS, id="no credit"),
        pytest.param([openai_error(401)], 1, 365 * 24 * HOUR_MS, 3660 * 24 * HOUR_MS, id="a refused key"),
        pytest.param([openai_error(404, "model_not_found")], 1, 23 * HOUR_MS, 24 * HOUR_MS, id="a model that is gone"),
        pytest.param([openai_error(503)], 3, 25_000, 30_000, id="three failures"),
        pytest.param([Reset()], 1, 25_000, 30_000, id="a line that breaks"),
    ],
)
def test_the_next_process_leaves_alone_what_this_one_met(
    tmp_path: Path, failure: Script, calls: int, least_ms: int, most_ms: int
) -> None:
    with serving(failure) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(calls):
            assert ask(house).provider == "anthropic"
        met = len(first.received)
        assert ask(house).provider == "anthropic"
        assert len(first.received) == met
    assert least_ms < rests_ms(house) <= most_ms
    [left_alone] = [one for one in plan_of(house).excluded if one.model.name == OPENAI]
    assert "circuit open" in left_alone.reason
    other_key = plan_of(house, OPENAI_API_KEY="sk-another-0123456789")
    assert other_key.entries[0].model.name == OPENAI, "another key is another matter"


def test_a_caller_fault_closes_no_door(tmp_path: Path) -> None:
    with serving([openai_error(400, "context_length_exceeded")]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(4):
            with pytest.raises(Exception, match="context_length_exceeded"):
                ask(house)
        assert len(first.received) == 4


def test_no_fallback_means_the_model_that_was_named_even_while_it_is_left_alone(tmp_path: Path) -> None:
    with serving([openai_error(429, retry_after="60")]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        ask(house)
        with pytest.raises(Exception, match="told 429") as caught:
            ask(house, fallback=(), enable_fallback=False, timeout_s=5)
        assert "try again in 60 s" in str(getattr(caught.value, "hint", None))
        assert len(second.received) == 1


def test_when_all_are_left_alone_the_soonest_is_tried_but_no_refused_key(tmp_path: Path) -> None:
    slow, slower = [openai_error(429, retry_after="30")], [reply(429, b"{}", headers={"retry-after": "90"})]
    with serving(slow) as first, serving(slower) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(2):
            with pytest.raises(AllProvidersFailedError) as caught:
                ask(house, timeout_s=5)
            assert [attempt.provider for attempt in caught.value.attempts] == ["openai", "anthropic"]
            assert "try again in 30 s" in str(caught.value.hint)
            assert OPENAI in caught.value.message
            assert ANTHROPIC in caught.value.message
    with serving([openai_error(401)]) as first, serving([reply(401, b"{}")]) as second:
        (tmp_path / "keys").mkdir()
        house = House(tmp_path / "keys", openai=first, anthropic=second)
        with pytest.raises(AllProvidersFailedError):
            ask(house)
        with pytest.raises(NoCandidateError, match=f"{OPENAI}: circuit open until its key changes") as refused:
            ask(house)
        for remedy in ("OPENAI_API_KEY", "llmroute health --reset openai", "llmroute health --reset anthropic"):
            assert remedy in refused.value.message
        assert (len(first.received), len(second.received)) == (1, 1)


def test_retries_run_out_and_a_minute_brings_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([openai_error(500)]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)

        def ask_alone() -> None:
            with pytest.raises(TransientError):
                ask(house, fallback=(), enable_fallback=False)

        ask_alone()
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
            db.execute("UPDATE retry_tokens SET tokens = 0.5")
            db.commit()
        assert len(first.received) == 2
        ask_alone()
        assert len(first.received) == 3, "no retry is left"
        clock_ms = LedgerAccess.now_ms
        monkeypatch.setattr(LedgerAccess, "now_ms", lambda access: clock_ms(access) + 2 * MINUTE_MS)
        ask_alone()
        assert len(first.received) == 5


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, -24 * HOUR_MS, 48 * HOUR_MS])
def test_a_clock_that_jumps_harms_no_answer(tmp_path: Path, jump_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_ms = LedgerAccess.now_ms
    with serving([openai_error(503)]) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        ask(house)
        monkeypatch.setattr(LedgerAccess, "now_ms", lambda access: clock_ms(access) + jump_ms)
        for _ in range(3):
            assert ask(house).provider == "anthropic"
        monkeypatch.setattr(LedgerAccess, "now_ms", clock_ms)
        assert ask(house).provider == "anthropic"
    assert {status for (status,) in house.rows("status")} == {"failed", "ok"}


def test_nothing_without_a_name_is_told_of_what_keeps_all_models_out(tmp_path: Path) -> None:
    with serving([openai_error(401)]) as server:
        here = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        assert run("gen", "hi", "-p", "openai", "--no-fallback", home=tmp_path, **here).code == 3
        asked = len(server.received)
        again = run("gen", "hi", "-p", "openai", "--json", home=tmp_path, **here)
        assert (again.code, len(server.received)) == (3, asked)
        reasons = json.loads(again.out)["error"]["message"].partition("can serve this request: ")[2].split("; ")
        assert all(re.match(r"[a-z]+(/\S+)?: ", reason) for reason in reasons), reasons
        assert any("llmroute health --reset openai" in reason for reason in reasons)
        text = run("health", "-p", "openai", home=tmp_path, **here).out
        assert "circuit open until its key changes; close it with: llmroute health --reset openai" in text
        assert "circuit open until 20" not in text


def test_health_tells_until_when_and_resets(tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    with serving([openai_error(401)]) as first:
        house = House(tmp_path / "llmroute", openai=first)
        with pytest.raises(Exception, match="told 401"):
            ask(house, fallback=())
        service = house.service()
        assert str(service.probe(("openai",))["openai"].open_until).endswith("Z")
        service.close()
        here = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": first.url}
        told = run("health", "--reset", "openai", "--reset", "mistral", home=tmp_path, **here)
        assert (told.code, told.out, told.err) == (0, "openai: 1 circuit closed\nmistral: no open circuits\n", "")
        again = run("health", "--reset", "openai", "--json", home=tmp_path, **here)
        assert json.loads(again.out) == {"reset": {"openai": 0}}
        assert run("health", "--reset", "nobody", home=tmp_path, **here).code == 2
        asked = len(first.received)
        with pytest.raises(Exception, match="told 401"):
            ask(house, fallback=())
        assert len(first.received) == asked + 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("health", "--reset", "openai", home=empty).out == "openai: no open circuits\n"
    assert not (empty / "llmroute" / "ledger.db").exists()


def half_open(house: House) -> None:
    """Let what is left alone be tried again."""
    with closing(sqlite3.connect(house.folder / "ledger.db")) as db:
        db.execute("UPDATE breakers SET open_until_ms = ?", (time.time_ns() // 1_000_000 - 1,))
        db.commit()


CROWD = 16
# Each begins when the file is there, so that all meet the breaker half-open together.
CALLER = """
import sys, time
from pathlib import Path
from llmroute.config import loading
from llmroute.providers import PROVIDERS
from llmroute.service.client import LLMService
from llmroute.request.options import Options
import llmroute.transport.client
service = LLMService(config=loading.load(PROVIDERS))
service.registry
print("ready", flush=True)
sys.stdin.readline()
[answer] = service.answer(Options(prompt="x", model=sys.argv[1], fallback=(sys.argv[2],)), streaming=False)
service.close()
print(answer.provider, flush=True)
"""


def test_of_a_crowd_one_tries_what_was_left_alone(tmp_path: Path) -> None:
    script: list[Any] = [openai_error(503, retry_after="0.01", x_should_retry="false")]
    with serving(lambda _request: script) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(3):
            ask(house)
        half_open(house)
        first.received.clear()
        script[:] = [Pause(0.5), *script]
        crowd = [
            subprocess.Popen(
                [sys.executable, "-c", CALLER, OPENAI, ANTHROPIC],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**environment(tmp_path), **house.environ},
                cwd=tmp_path,
            )
            for _ in range(CROWD)
        ]
        for one in crowd:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        half_open(house)
        for one in crowd:
            assert one.stdin is not None
            one.stdin.write(b"go\n")
            one.stdin.flush()
        answers = [one.communicate(timeout=60)[0] for one in crowd]
        assert answers == [b"anthropic\n"] * CROWD
        assert len(first.received) == 1
    assert house.rows("count(*)")[0][0] == 6 + 1 + CROWD


def test_a_prober_that_was_killed_lets_go(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[timeouts]\ntotal_s = 3\n")
    script: list[Any] = [openai_error(503, x_should_retry="false")]
    with serving(lambda _request: script) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(3):
            ask(house)
        half_open(house)
        script[:] = [Pause(60)]
        first.received.clear()
        asking = (*LLMROUTE, "gen", "x", "--no-stdin", "-m", OPENAI, "--fallback", ANTHROPIC)
        began = time.monotonic()
        prober = subprocess.Popen(asking, env={**environment(tmp_path), **house.environ}, cwd=tmp_path)
        while not first.received and time.monotonic() < began + 20:
            time.sleep(0.01)
        probing = time.monotonic()
        os.kill(prober.pid, signal.SIGKILL)
        prober.wait()
        assert ask(house).provider == "anthropic"
        assert len(first.received) == 1, "it is being tried, as far as one knows"
        time.sleep(max(probing + 3.2 - time.monotonic(), 0))
        script[:] = [openai_answer()]
        assert ask(house).provider == "openai"
    assert ("lost",) in house.rows("status")


def test_services_of_one_process_share_the_probe_too(tmp_path: Path) -> None:
    script: list[Any] = [openai_error(503, x_should_retry="false")]
    with serving(lambda _request: script) as first, serving([anthropic_answer()]) as second:
        house = House(tmp_path, openai=first, anthropic=second)
        for _ in range(3):
            ask(house)
        half_open(house)
        first.received.clear()
        others_are_answered = threading.Event()
        script[:] = [Until(others_are_answered), openai_answer()]
        found: list[str] = []

        def ask_and_tell() -> None:
            found.append(ask(house).provider)
            if len(found) == 5:
                others_are_answered.set()

        threads = [threading.Thread(target=ask_and_tell) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(found) == ["anthropic"] * 5 + ["openai"]
        assert ask(house).provider == "openai", "it is well again"
