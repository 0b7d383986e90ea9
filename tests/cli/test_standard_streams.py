"""Standard streams that are closed, full or left by their reader: one line, a documented code, and no harm done."""

from __future__ import annotations

import json
import shlex
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmroute import exit_codes
from tests.support.shell import LLMROUTE, Ran, environment, rows, run

if TYPE_CHECKING:
    from tests.support.model_server import ModelServer

MODEL = "openai/gpt-5.4-mini"
pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
FULL = "llmroute: stdout cannot be written: No space left on device"
CLOSED = "llmroute: stdout is closed"


def redirected(line: str, home: Path, **settings: str) -> Ran:
    """Run `llmroute` with arguments and redirections as a shell reads them."""
    ended = subprocess.run(
        ["bash", "-c", f"{shlex.join(LLMROUTE)} {line}"],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.mark.parametrize(
    "command",
    [
        "",
        "--help",
        "gen --help",
        "--version",
        "--show-completion bash",
        "models",
        "chains",
        "costs",
        "costs path",
        "costs budget",
        "health -p anthropic",
        f"gen hi -m {MODEL} --dry-run",
    ],
)
def test_output_that_cannot_be_written_is_one_line_and_exit_3(command: str, tmp_path: Path) -> None:
    settings = {"OPENAI_API_KEY": "sk-test"}
    assert redirected(f"{command} >/dev/full", tmp_path, **settings) == Ran(3, "", f"{FULL}\n")
    assert redirected(f"{command} <&- >&-", tmp_path, **settings) == Ran(3, "", f"{CLOSED}\n")


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_without_stderr_stdout_and_the_exit_code_are_the_same(stderr: str, server: ModelServer, tmp_path: Path) -> None:
    assert redirected(f"gen hi -m {MODEL} -u {stderr}", tmp_path, **server.settings) == Ran(0, "one two three\n", "")
    assert redirected(f"gen hi -m anthropic/claude-haiku-4-5 {stderr}", tmp_path, **server.settings).code == 3
    assert redirected(f"nonsense --debug {stderr}", tmp_path) == Ran(2, "", "")


@pytest.mark.parametrize("stdin", ["<&-", "</dev/null"])
def test_a_command_that_would_ask_a_person_needs_no_stdin(stdin: str, server: ModelServer, tmp_path: Path) -> None:
    assert run("chains", "set", "mine", MODEL, home=tmp_path, **server.settings).code == 0
    ran = redirected(f"chains test mine {stdin}", tmp_path, **server.settings)
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["gen hi", "stream hi --json", "gen --batch prompts --lines --jobs 2"])
def test_nothing_is_written_into_files_that_get_the_numbers_of_closed_streams(
    command: str, streams: str, server: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts").write_text("a\nb\n")
    ran = redirected(f"{command} -m {MODEL} {streams}", tmp_path, **server.settings)
    assert ran.code == (exit_codes.OK if streams == "2>&-" else exit_codes.SETUP)
    if streams != "2>&-" and "--batch" not in command:
        # Nothing is sent that cannot be written.
        assert not (tmp_path / "llmroute" / "ledger.db").exists()
        return
    with closing(sqlite3.connect(tmp_path / "llmroute" / "ledger.db")) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {row["status"] for row in rows(tmp_path)} <= {"ok", "interrupted"}
    assert {row["cost_picousd"] is not None for row in rows(tmp_path)} == {True}


@pytest.mark.parametrize(("command", "form"), [("gen", ""), ("gen", "--json"), ("stream", "-x"), ("stream", "--json")])
def test_an_answer_that_was_paid_for_and_cannot_be_written_is_told_and_kept_by_meta(
    command: str, form: str, server: ModelServer, tmp_path: Path
) -> None:
    lost = redirected(f"{command} hi -m {MODEL} {form} >/dev/full", tmp_path, **server.settings)
    assert (lost.code, lost.err.count("\n")) == (3, 1)
    assert lost.err.startswith(f"{FULL}; the tokens received so far are billed")
    assert "--meta FILE" in lost.err
    kept = redirected(f"{command} hi -m {MODEL} {form} --meta told.json >/dev/full", tmp_path, **server.settings)
    assert (kept.code, kept.err.count("\n")) == (3, 1)
    assert "told.json" in kept.err
    assert json.loads((tmp_path / "told.json").read_text())["content"] == "one two three"
    assert rows(tmp_path)[1]["status"] == "ok"
    assert all(row["cost_picousd"] > 0 for row in rows(tmp_path))


def test_results_that_go_to_a_closed_stdout_by_its_name_are_not_counted_as_written(
    server: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts").write_text("a\n")
    ran = redirected(f"gen --batch prompts --lines -m {MODEL} -o /dev/stdout >&-", tmp_path, **server.settings)
    assert ran.code == 3
    assert "cannot be written" in ran.err


def test_an_error_keeps_its_own_line_and_code_where_its_json_cannot_be_written(tmp_path: Path) -> None:
    ran = redirected("costs --period decade --json >/dev/full", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "decade" in ran.err


@pytest.mark.parametrize("command", ["--help", "models"])
def test_a_reader_that_has_gone_ends_any_command_quietly(command: str, tmp_path: Path) -> None:
    line = f"{shlex.join(LLMROUTE)} {command}"
    ended = subprocess.run(
        ["bash", "-c", f"{{ sleep 1; {line}; echo $? >code; }} | true"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == b""
    assert int((tmp_path / "code").read_text()) == 128 + signal.SIGPIPE


def test_a_stdout_that_another_process_made_non_blocking_gets_all_of_a_long_answer(
    server: ModelServer, tmp_path: Path
) -> None:
    server.words = ("long " * 200_000,)
    script = (
        "import os,sys,time,subprocess\n"
        "read, write = os.pipe()\n"
        "os.set_blocking(write, False)\n"
        "process = subprocess.Popen(sys.argv[1:], stdout=write)\n"
        "os.close(write)\n"
        "got = 0\n"
        "while piece := os.read(read, 4096):\n"
        "    got += len(piece)\n"
        "print(process.wait(), got)\n"
    )
    ended = subprocess.run(
        [LLMROUTE[0], "-c", script, *LLMROUTE, "gen", "hi", "-m", MODEL],
        env=environment(tmp_path, **server.settings),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == (b"0 1000001\n", b"")


@pytest.mark.parametrize(
    "command",
    [
        f"gen hi -m {MODEL} --meta",
        f"gen --batch prompts --lines -m {MODEL} -o",
        "costs export",
        "costs backup",
    ],
)
def test_a_path_that_names_no_place_for_a_file_is_a_mistake_and_a_place_that_takes_none_needs_a_person(
    command: str, server: ModelServer, tmp_path: Path
) -> None:
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings).code == 0
    (tmp_path / "prompts").write_text("a\n")
    asked = len(server.requests)
    for path, code in (("no/such/folder/x.csv", 2), ("prompts/x.csv", 2), ("/proc/self/fdinfo/x.csv", None)):
        ran = run(*command.split(), path, home=tmp_path, **server.settings)
        assert ran.code in ({code} if code else {exit_codes.USAGE, exit_codes.SETUP})
        assert "cannot be written" in ran.err
        assert ran.err.count("\n") == 1
    assert len(server.requests) == asked


def test_settings_that_cannot_be_written_need_a_person(tmp_path: Path) -> None:
    ran = run("costs", "budget", "set", "--month", "20", home=tmp_path, LLMROUTE_CONFIG_DIR="/proc/llmroute")
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
