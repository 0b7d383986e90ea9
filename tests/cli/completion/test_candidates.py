"""Shells get their candidates by the completion scripts that are shipped."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from tests.cli.completion.shells import SHIPPED, shell_environment
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

# A line up to the cursor, and the whole words that are offered for its last one.
OFFERED = {
    "llmroute st": {"stream"},
    "llmroute --show-completion ": {"bash", "zsh", "fish"},
    "llmroute --install-completion z": {"zsh"},
    "llmroute costs ca": {"calls"},
    "llmroute gen --str": {"--strategy", "--strict-params"},
    "llmroute gen --strategy lat": {"latency_optimized"},
    "llmroute gen --strategy=lat": {"latency_optimized"},
    'llmroute gen "two words" -p mi': {"mistral"},
    "git diff | llmroute stream --chain HIGH": {"HIGH_QUALITY"},
    "llmroute gen --chain my": {"mychain"},
    "llmroute gen -m builtin/": {"builtin/smollm2-135m"},
    "llmroute gen -m ollama/gpt-oss:": {"ollama/gpt-oss:20b", "ollama/gpt-oss:120b"},
    "llmroute gen --fallback gpt-6.2-a": set(),
    "llmroute gen --workspace ni": {"nightly"},
    "llmroute gen --capability vi": {"vision"},
    "llmroute gen --task tr": {"translation"},
    "llmroute gen --on-budget ": {"cheaper", "refuse"},
    "llmroute gen --fallback-on ": {"content"},
    "llmroute gen --color ne": {"never"},
    "llmroute costs --json pa": set(),
    "llmroute costs --json --cs": {"--csv"},
    "llmroute models --json sh": set(),
    "llmroute models sh": {"show"},
    "llmroute costs --period ": {"day", "week", "month", "year", "yesterday", "last-week", "last-month", "all"},
    "llmroute costs --by pro": {"provider"},
    "llmroute costs budget set --workspace ni": {"nightly"},
    "llmroute models --sort q": {"quality"},
    "llmroute models ": {"show", "pull", "refresh"},
    "llmroute models anthropic/claude-haiku-4": {"anthropic/claude-haiku-4-5"},
    "llmroute models show claude-haiku-4": set(),
    "llmroute models show anthropic/claude-haiku-4": {"anthropic/claude-haiku-4-5"},
    "llmroute models pull ollama/phi": {"ollama/phi4"},
    "llmroute models pull bu": {"builtin/smollm2-135m"},
    "llmroute health --reset tog": {"together"},
    "llmroute chains show my": {"mychain"},
    "llmroute chains set mine anthropic/claude-haiku-4": {"anthropic/claude-haiku-4-5"},
}
HOSTILE = "x $(touch bad) `touch bad` ; touch bad"
"""A workspace whose name is a command."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a chain, and with two workspaces in its ledger."""
    folder = tmp_path_factory.mktemp("home")
    config = folder / "llmroute"
    config.mkdir()
    (config / "config.toml").write_text('[chains]\nmychain = ["ollama/qwen3"]\n')
    with Ledger(config / "ledger.db") as ledger:
        for number, workspace in enumerate(("nightly", HOSTILE)):
            ledger.settle(
                AttemptRow(f"r{number}", 1, 1, "openai", "m", streaming=False, status="ok", workspace=workspace)
            )
    return folder


def asked(shell: str, code: str, home: Path) -> list[str]:
    command = {"bash": ["bash", "--norc", "-c"], "fish": ["fish", "--no-config", "-c"]}[shell]
    ended = subprocess.run(
        [*command, code], env=shell_environment(home), cwd=home, capture_output=True, timeout=120, check=True, text=True
    )
    return ended.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_flags_and_values(home: Path) -> None:
    # Bash gives the function the part of the line that is the command's own.
    lines = [line.rpartition("| ")[2] for line in OFFERED]
    quoted = " ".join("'" + line + "'" for line in lines)
    code = f"""
        source {SHIPPED / "llmroute.bash"}
        for COMP_LINE in {quoted}; do
            COMP_POINT=${{#COMP_LINE}}
            _llmroute_completion
            printf '%s\\t' "${{COMPREPLY[@]}}"; echo
        done
    """
    told = asked("bash", code, home)
    for line, offered, found in zip(lines, OFFERED.values(), told, strict=True):
        # Bash replaces only what stands behind the last : or = of the word.
        cut = max(line.rpartition(" ")[2].rfind(mark) for mark in ":=") + 1
        kept = line.rpartition(" ")[2][:cut] if "=" not in line else ""
        assert {kept + word for word in found.split("\t") if word} == offered, line


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_flags_and_values(home: Path) -> None:
    quoted = " ".join("'" + line + "'" for line in OFFERED)
    code = f'source {SHIPPED / "llmroute.fish"}; for line in {quoted}; echo "> $line"; complete -C $line; end'
    told = "\n".join(asked("fish", code, home)).split("> ")[1:]
    for (line, offered), block in zip(OFFERED.items(), told, strict=True):
        before = line.rpartition(" ")[2].rpartition("=")
        assert {word.removeprefix(before[0] + before[1]) for word in block.splitlines()[1:]} == offered, line


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_files_where_nothing_else_is_offered(tmp_path: Path) -> None:
    (tmp_path / "page one.html").touch()
    for line in ("llmroute costs --html pa", "llmroute costs --html=pa", "llmroute gen --attach ./pa"):
        told = asked("fish", f"source {SHIPPED / 'llmroute.fish'}; complete -C '{line}'", tmp_path)
        assert told == [line.rpartition(" ")[2] + "ge one.html"]
    assert asked("fish", f"source {SHIPPED / 'llmroute.fish'}; complete -C 'llmroute costs --html zz'", tmp_path) == []


def pressed(typed: str, home: Path, expected: str, *, how: str) -> str:
    """Type into an interactive zsh and return what it showed as soon as `expected` is there."""
    load = f"fpath=({SHIPPED} $fpath); autoload -U compinit; compinit -u -D"
    if how == "sourced":
        load = f"autoload -U compinit; compinit -u -D; source {SHIPPED / '_llmroute'}"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(home)
        os.execvpe("zsh", ["zsh", "-f", "-i"], shell_environment(home))
    shown = b""
    until = time.monotonic() + 60

    def wait_for(mark: str) -> None:
        nonlocal shown
        while mark.encode() not in shown and time.monotonic() < until:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536)
        assert mark.encode() in shown, shown

    try:
        os.write(terminal, f"{load}; PROMPT='ready'\"> \"\n".encode())
        wait_for("ready> ")
        os.write(terminal, typed.encode() + b"\t")
        wait_for(expected)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("how", ["in fpath", "sourced"])
def test_the_first_tab_in_zsh_completes(how: str, home: Path) -> None:
    pressed("git diff | llmroute gen --strategy lat", home, "latency_optimized", how=how)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_values_with_colons_and_after_an_equals_sign(home: Path) -> None:
    shown = pressed("llmroute gen -m ollama/gpt-oss:", home, "gpt-oss:20b", how="in fpath")
    assert "gpt-oss:120b" in shown
    pressed("llmroute gen --strategy=lat", home, "--strategy=latency_optimized", how="in fpath")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_name_that_is_a_command_is_quoted(shell: str, home: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    quoted = HOSTILE.replace("\\", "\\\\")
    for letter in " $()`;":
        quoted = quoted.replace(letter, f"\\{letter}")
    if shell == "zsh":
        pressed("llmroute gen --workspace x", home, quoted, how="in fpath")
    else:
        code = f"""
            source {SHIPPED / "llmroute.bash"}
            COMP_LINE='llmroute gen --workspace x' COMP_POINT=26
            _llmroute_completion
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        assert asked("bash", code, home) == [quoted]
    assert not (home / "bad").exists()


def test_nothing_is_offered_and_nothing_said_when_the_ledger_is_not_one(tmp_path: Path) -> None:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    (folder / "ledger.db").write_text("not a database, and long enough to be looked at")
    ask = {"_LLMROUTE_COMPLETE": "complete_bash", "COMP_WORDS": "llmroute gen --workspace ''", "COMP_CWORD": "-1"}
    ran = run(home=tmp_path, **ask)
    assert (ran.out.strip(), ran.err) == ("", "")
