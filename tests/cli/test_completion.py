"""The completion scripts that are shipped are those that the program prints, and shells get their candidates so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import environment, run

SHIPPED = Path(__file__).parents[2] / "completions"
PRINTED = {"bash": "llmroute.bash", "zsh": "_llmroute", "fish": "llmroute.fish"}


@pytest.mark.parametrize("shell", PRINTED)
def test_the_shipped_script_is_the_one_that_is_printed(shell: str, tmp_path: Path) -> None:
    ran = run("--show-completion", shell, home=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (ran.code, ran.out) == (0, (SHIPPED / PRINTED[shell]).read_text())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_flags(tmp_path: Path) -> None:
    ask = f"""
        source {SHIPPED / "llmroute.bash"}
        for words in "llmroute st" "llmroute gen --str"; do
            COMP_WORDS=($words) COMP_CWORD=$(( $(wc -w <<< "$words") - 1 ))
            _llmroute_completion {Path(sys.executable).parent / "llmroute"}
            echo "${{COMPREPLY[@]}}"
        done
    """
    ended = subprocess.run(
        ["bash", "-c", ask], env=environment(tmp_path), capture_output=True, timeout=30, check=True, text=True
    )
    assert ended.stdout.splitlines() == ["stream", "--strategy --strict-params"]
