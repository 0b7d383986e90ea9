"""`--meta FILE` replaces no other file of the command: not its input, not its results, not a redirected stdout."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.shell import LLMROUTE, environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.model_server import ModelServer

GEN = ("gen", "-m", "openai/gpt-5.4-mini")
BATCH = (*GEN, "--batch", "in.jsonl")
RESUME = (*BATCH, "-o", "out.jsonl", "--resume")
FILES = {
    "in.jsonl": '{"id": "a", "prompt": "a"}\n',
    "out.jsonl": '{"id": "b", "content": "paid"}\n',
    "out.jsonl.failed": '{"id": "c", "prompt": "c"}\n',
    "picture.png": "a text",
    "schema.json": '{"type": "object"}',
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "link").symlink_to("out.jsonl")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "meta", "flag"),
    [
        (BATCH, "in.jsonl", "--batch"),
        (RESUME, "out.jsonl", "-o"),
        (RESUME, "link", "-o"),
        (RESUME, "out.jsonl.failed", "-o"),
        ((*BATCH, "-o", "new.jsonl"), "new.jsonl", "-o"),
        ((*GEN, "hi", "-a", "picture.png"), "picture.png", "--attach"),
        (("stream", "hi", "-a", "picture.png"), "./picture.png", "--attach"),
        ((*GEN, "hi", "--schema", "schema.json"), "schema.json", "--schema"),
        ((*GEN, "hi", "--schema-multi", "schema.json"), "schema.json", "--schema-multi"),
    ],
)
def test_a_file_that_the_command_uses_is_not_replaced(
    command: tuple[str, ...], meta: str, flag: str, home: Path, server: ModelServer
) -> None:
    ran = run(*command, "--meta", meta, home=home, **server.settings)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"llmroute: --meta: {meta.removeprefix('./')} is also the file of {flag} (name another file)\n"
    assert server.requests == []
    assert {name: (home / name).read_text() for name in FILES} == FILES


@pytest.mark.parametrize(("redirection", "stream"), [("<", "stdin"), (">>", "stdout"), ("2>>", "stderr")])
def test_the_file_behind_a_standard_stream_is_not_replaced(
    redirection: str, stream: str, home: Path, server: ModelServer
) -> None:
    script = f'"$0" -m llmroute gen hi --meta log {redirection} log'
    (home / "log").write_text("older\n")
    env = environment(home, **server.settings)
    ran = subprocess.run(
        ["sh", "-c", script, LLMROUTE[0]], env=env, cwd=home, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    told = f"llmroute: --meta: log is also the file of {stream} (name another file)\n"
    assert ran.stdout == ""
    assert ran.stderr + (home / "log").read_text() == ("older\n" + told if stream == "stderr" else told + "older\n")
    assert server.requests == []


def test_stdout_is_for_the_answer(home: Path, server: ModelServer) -> None:
    ran = run(*GEN, "hi", "--meta", "-", home=home, **server.settings)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "llmroute: --meta: - does not name a file (./- does) (see llmroute gen --help)\n"
    assert not (home / "-").exists()
    assert server.requests == []
