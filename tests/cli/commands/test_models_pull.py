"""`models pull` against a server that says what Ollama says."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import AttemptError
from llmroute.providers import Endpoint, ollama
from llmroute.providers.wire.ollama_pull import PullProgress
from tests.support.pseudo_terminal import run_on_terminal, without_escapes
from tests.support.shell import run, start
from tests.support.waiting import PATIENCE_S, wait_until
from tests.support.web_server import HANG, Page, WebServer

if TYPE_CHECKING:
    from pathlib import Path

STEPS: list[dict[str, Any]] = [
    {"status": "pulling manifest"},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2_000_000},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2_000_000, "completed": 1_500_000},
    {"status": "pulling 966de95ca8a6", "digest": "sha256:966d", "total": 1000, "completed": 1000},
    {"status": "pulling dde5aa3fc5ff", "digest": "sha256:dde5", "total": 2_000_000, "completed": 2_000_000},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]
GONE: dict[str, Any] = {"error": "pull model manifest: file does not exist"}


def lines(*steps: dict[str, Any]) -> Page:
    return Page(tuple(json.dumps(step).encode() + b"\n" for step in steps))


def test_it_asks_ollama_for_the_model_and_is_quiet_without_a_terminal(tmp_path: Path) -> None:
    with WebServer({"/api/pull": lines(*STEPS)}) as server:
        for name in ("ollama/llama3.2:3b", "llama3.2:3b"):
            ran = run("models", "pull", name, home=tmp_path, OLLAMA_BASE_URL=server.url)
            assert (ran.code, ran.out, ran.err) == (0, "", "llmroute: ollama/llama3.2:3b is installed\n")
    assert [json.loads(body) for _, _, body in server.asked] == [{"model": "llama3.2:3b", "stream": True}] * 2


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    with WebServer({"/api/pull": lines(*STEPS)}) as server:
        seen = run_on_terminal("models", "pull", "ollama/llama3.2", home=tmp_path, OLLAMA_BASE_URL=server.url)
        quiet = run_on_terminal("models", "pull", "ollama/llama3.2", "-q", home=tmp_path, OLLAMA_BASE_URL=server.url)
    assert seen.code == 0
    assert re.match("pulling manifest ━* 0 bytes", without_escapes(seen.text))
    assert seen.text.endswith("\r\x1b[1A\x1b[2Kllmroute: ollama/llama3.2 is installed\n")
    assert (quiet.code, quiet.text) == (0, "")


def test_what_ollama_does_not_find_is_3(tmp_path: Path) -> None:
    with WebServer({"/api/pull": lines(STEPS[0], GONE)}) as server:
        ran = run("models", "pull", "ollama/no-such-model", home=tmp_path, OLLAMA_BASE_URL=server.url)
        seen = run_on_terminal("models", "pull", "ollama/no-such-model", home=tmp_path, OLLAMA_BASE_URL=server.url)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert "no such model" in ran.err
    assert seen.code == 3


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (lines(*STEPS[:3]), 6),
        (lines(STEPS[0], {"error": "max retries exceeded: connection reset"}), 4),
        (Page(b"<html>"), 6),
        (Page({"error": "busy"}, status=503), 4),
    ],
)
def test_a_pull_that_fails_says_so_in_one_line(page: Page, code: int, tmp_path: Path) -> None:
    with WebServer({"/api/pull": page}) as server:
        ran = run("models", "pull", "ollama/llama3.2", home=tmp_path, OLLAMA_BASE_URL=server.url)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 1)


def test_an_ollama_that_is_not_running_says_how_to_start_it(tmp_path: Path) -> None:
    ran = run("models", "pull", "ollama/llama3.2", home=tmp_path, OLLAMA_HOST="127.0.0.1:9")
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    assert "ollama serve" in ran.err


@pytest.mark.parametrize("name", ["openai/gpt-6-luna", "ollama/", "", "a b"])
def test_what_cannot_be_pulled_is_2_and_nothing_is_sent(name: str, tmp_path: Path) -> None:
    with WebServer({"/api/pull": lines(*STEPS)}) as server:
        ran = run("models", "pull", name, home=tmp_path, OLLAMA_BASE_URL=server.url)
    assert (ran.code, ran.out, server.asked) == (2, "", [])


def test_a_signal_ends_it(tmp_path: Path) -> None:
    with WebServer({"/api/pull": HANG}) as server:
        process = start("models", "pull", "ollama/llama3.2", home=tmp_path, OLLAMA_BASE_URL=server.url)
        wait_until(lambda: server.asked)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, b"")


def test_bytes_are_read_however_they_are_cut() -> None:
    data = b"".join(json.dumps(step).encode() + b"\n" for step in STEPS)
    for size in (1, 7, len(data)):
        reader = ollama.connect(Endpoint()).open_pull()
        told = [one for at in range(0, len(data), size) for one in reader.feed(data[at : at + size])]
        reader.finish()
        assert told[2] == PullProgress("pulling dde5aa3fc5ff", 1_500_000, 2_000_000)
        assert told[3] == PullProgress("pulling 966de95ca8a6", 1_501_000, 2_001_000)
        assert told[-1] == PullProgress("success", 2_001_000, 2_001_000)


@pytest.mark.parametrize("total", [-1, "x", True, 10**30, None, 1.5])
def test_sizes_that_cannot_be_are_unknown(total: Any) -> None:
    reader = ollama.connect(Endpoint()).open_pull()
    (told,) = reader.feed(json.dumps({"status": "pulling", "digest": "d", "total": total}).encode() + b"\n")
    assert told == PullProgress("pulling", 0, 0)
    with pytest.raises(AttemptError, match="was interrupted"):
        reader.finish()
