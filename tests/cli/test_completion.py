"""The completion scripts that are shipped are those that the program prints, and shells get their candidates so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_server import ModelServer
from tests.shell import environment, run

SHIPPED = Path(__file__).parents[2] / "completions"
PRINTED = {"bash": "llmroute.bash", "zsh": "_llmroute", "fish": "llmroute.fish"}


@pytest.mark.parametrize("shell", PRINTED)
def test_the_shipped_script_is_the_one_that_is_printed(shell: str, tmp_path: Path) -> None:
    ran = run("--show-completion", shell, home=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (ran.code, ran.out) == (0, (SHIPPED / PRINTED[shell]).read_text())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_flags_and_values(tmp_path: Path) -> None:
    with ModelServer() as server:
        run("gen", "hi", "-m", "openai/gpt-4o", "--workspace", "nightly", home=tmp_path, **server.settings)
    ask = f"""
        source {SHIPPED / "llmroute.bash"}
        for words in "llmroute st" "llmroute gen --str" "llmroute gen -p mi" "llmroute stream --chain HIGH" \\
                     "llmroute gen -m builtin/" "llmroute gen --strategy lat" "llmroute gen --workspace ni"; do
            COMP_WORDS=($words) COMP_CWORD=$(( $(wc -w <<< "$words") - 1 ))
            _llmroute_completion {Path(sys.executable).parent / "llmroute"}
            echo "${{COMPREPLY[@]}}"
        done
    """
    ended = subprocess.run(
        ["bash", "-c", ask], env=environment(tmp_path), capture_output=True, timeout=30, check=True, text=True
    )
    assert ended.stdout.splitlines() == [
        "stream",
        "--strategy --strict-params",
        "mistral",
        "HIGH_QUALITY",
        "builtin/smollm2-135m",
        "latency_optimized",
        "nightly",
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_and_values(tmp_path: Path) -> None:
    def ask(line: str) -> list[str]:
        code = f"source {SHIPPED / 'llmroute.fish'}; complete -C '{line}'"
        env = environment(tmp_path) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        ended = subprocess.run(
            ["fish", "--no-config", "-c", code], env=env, capture_output=True, timeout=30, check=True, text=True
        )
        return [offered.partition("\t")[0] for offered in ended.stdout.splitlines()]

    assert ask("llmroute st") == ["stream"]
    assert ask("llmroute gen --strategy lat") == ["latency_optimized"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_commands_and_values(tmp_path: Path) -> None:
    def ask(*words: str) -> str:
        code = f"""
            compdef() {{ :; }}
            _arguments() {{ print -r -- "$@"; }}
            words=({" ".join(words)}) CURRENT={len(words)}
            source {SHIPPED / "_llmroute"}
            _llmroute_completion
        """
        env = environment(tmp_path) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        ended = subprocess.run(
            ["zsh", "-f", "-c", code], env=env, capture_output=True, timeout=30, check=True, text=True
        )
        return ended.stdout

    assert '"stream"' in ask("llmroute", "st")
    offered = ask("llmroute", "gen", "--strategy", "lat")
    assert '"latency_optimized"' in offered
    assert "balanced" not in offered
