"""A key appears nowhere: not in the ledger, the spool, a message, a trace, or any file that is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.shell import Ran, environment, run, start
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.model_server import ModelServer

MARK = "marked-0123456789-abcdefghij"
KEYS = {f"{name}_API_KEY": f"sk-{name.lower()}-{MARK}" for name in ("OPENAI", "ANTHROPIC", "MISTRAL", "TOGETHER")}
CRASH = """
import sys
from llmroute.providers.wire.chat_completions import ChatCompletions

def crash(self, prompt, model):
    request = ChatCompletions.rendered(self, prompt, model)
    raise RuntimeError(f"{request} {self._endpoint} {vars(self)}")

ChatCompletions.rendered, ChatCompletions.render_request = ChatCompletions.render_request, crash
from llmroute.cli import main
main()
"""


def assert_unmarked(home: Path, *runs: Ran) -> None:
    for ran in runs:
        assert MARK not in ran.out + ran.err
    for path in home.rglob("*"):
        if path.is_file():
            assert MARK.encode() not in path.read_bytes(), path


def test_what_works_tells_no_key(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text("[timeouts]\ntotal_s = 20\n")
    settings = {**server.settings, **KEYS}
    told = [
        run(*arguments, home=tmp_path, **settings)
        for arguments in (
            ("gen", "hi", "-m", "openai/gpt-4o", "--debug", "--json", "--meta", "meta.json"),
            ("stream", "hi", "-m", "openai/gpt-4o", "--debug", "-u"),
            ("gen", "hi", "--dry-run", "--json"),
            ("models", "--json"),
            ("costs", "--json"),
            ("costs", "calls"),
            ("costs", "check"),
        )
    ]
    assert [ran.code for ran in told] == [0] * len(told)
    assert_unmarked(tmp_path, *told)


def test_a_ledger_that_fails_keeps_no_key_beside_it(server: ModelServer, tmp_path: Path) -> None:
    ledger = tmp_path / "llmroute" / "ledger.db"
    ledger.parent.mkdir()
    ledger.write_bytes(b"this is no ledger" * 1000)
    ran = run("gen", "hi", "-m", "openai/gpt-4o", "--debug", home=tmp_path, **{**server.settings, **KEYS})
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert [path.name for path in ledger.parent.glob("*spool*")], "the row went to the spool"
    assert_unmarked(tmp_path, ran, run("costs", "check", home=tmp_path))


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_crash_with_the_key_in_its_hands_tells_none(
    debug: tuple[str, ...], server: ModelServer, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, "gen", "hi", "-m", "openai/gpt-4o", *debug],
        env=environment(tmp_path, **{**server.settings, **KEYS}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        text=True,
    )
    assert ended.returncode == 1
    assert "RuntimeError" in ended.stderr
    assert ("Traceback" in ended.stderr) == bool(debug)
    assert_unmarked(tmp_path, Ran(ended.returncode, ended.stdout, ended.stderr))


def test_a_process_that_is_killed_leaves_no_key(server: ModelServer, tmp_path: Path) -> None:
    server.pause_s = 30
    process = start("gen", "hi", "-m", "openai/gpt-4o", home=tmp_path, **{**server.settings, **KEYS})
    wait_until(lambda: server.requests)
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert_unmarked(tmp_path, Ran(process.returncode, out.decode(), err.decode()))


@pytest.mark.parametrize("name", list(KEYS))
def test_a_key_that_cannot_be_sent_is_named_and_not_told(name: str, tmp_path: Path) -> None:
    ran = run("gen", "hi", home=tmp_path, **{name: f"{MARK}\nx"})
    assert ran.code == 2
    assert name in ran.err
    assert_unmarked(tmp_path, ran)


@pytest.mark.parametrize(
    "command",
    [
        ("gen", "hi", "--dry-run"),
        ("health", "-p", "builtin"),
        ("models",),
        ("models", "show", "openai/gpt-4o"),
        ("chains",),
    ],
)
def test_what_a_working_directory_may_not_say_is_told_once(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OLLAMA_HOST=evil.example\nLLM_WORKSPACE=theirs\n")
    ran = run(*command, home=tmp_path)
    assert ran.err.count("OLLAMA_HOST and LLM_WORKSPACE in ") == 1
    assert str(tmp_path / ".env") in ran.err
    assert "evil.example" not in ran.out + ran.err
