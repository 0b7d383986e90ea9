"""The completion scripts that are shipped are those that the program prints and installs for the shell named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from llmroute.cli import app
from tests.cli.completion.shells import PRINTED, SHIPPED, shell_environment
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("shell", PRINTED)
def test_the_shipped_script_is_the_one_that_is_printed(shell: str, tmp_path: Path) -> None:
    ran = run("--show-completion", shell, home=tmp_path)
    assert (ran.code, ran.out) == (0, (SHIPPED / PRINTED[shell]).read_text())


def called_from(shell: str, arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a command that is typed in a shell, and not as its last one, for which it would make way."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [shell, "-c", f"{sys.executable} -m llmroute {arguments}; echo done >&2"]
    return subprocess.run(
        command, env=shell_environment(home), cwd=home, capture_output=True, timeout=120, check=True, text=True
    )


@pytest.mark.parametrize("named", PRINTED)
@pytest.mark.parametrize("shell", [*PRINTED, "sh"])
def test_the_script_of_the_shell_that_is_named_is_printed_whichever_it_is_called_from(
    shell: str, named: str, tmp_path: Path
) -> None:
    script = (SHIPPED / PRINTED[named]).read_text()
    assert called_from(shell, f"--show-completion {named}", tmp_path).stdout == script
    assert called_from(shell, f"--show-completion={named}", tmp_path).stdout == script


@pytest.mark.parametrize("shell", PRINTED)
def test_the_script_of_the_shell_that_it_is_called_from_is_printed_where_none_is_named(
    shell: str, tmp_path: Path
) -> None:
    ended = called_from(shell, "--show-completion", tmp_path)
    assert (ended.stdout, ended.stderr) == ((SHIPPED / PRINTED[shell]).read_text(), "done\n")


@pytest.mark.parametrize("flag", ["--show-completion", "--install-completion"])
def test_a_shell_without_a_script_is_refused_in_one_line(flag: str, tmp_path: Path) -> None:
    ran = run(flag, "tcsh", home=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "llmroute: there is no completion for 'tcsh' (name bash, zsh or fish)\n"
    ended = called_from("sh", flag, tmp_path)
    assert ended.stderr.splitlines()[0] == "llmroute: there is no completion for 'sh' (name bash, zsh or fish)"
    assert not [path for path in tmp_path.iterdir() if path.name != "llmroute"]


@pytest.mark.parametrize(
    "error", [import_module("shellingham").ShellDetectionFailure(), PermissionError(13, "Permission denied")]
)
def test_where_no_shell_can_be_detected_the_names_are_told(
    error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def undetected() -> None:
        raise error

    monkeypatch.setattr("shellingham.detect_shell", undetected)
    assert app(["--show-completion"], standalone_mode=False) == 2
    assert capsys.readouterr() == ("", "llmroute: the current shell cannot be detected (name bash, zsh or fish)\n")


def test_a_home_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".bash_completions").write_text("a file where a folder is to be")
    ran = run("--install-completion", "bash", home=tmp_path)
    assert ran.code == 2
    assert ran.err == f"llmroute: {tmp_path / '.bash_completions'} cannot be written: File exists\n"


@pytest.mark.parametrize(
    ("shell", "ask", "told"),
    [
        ("bash", ["-ic", "complete -p llmroute"], "complete -o default -F _llmroute_completion llmroute"),
        ("zsh", ["-ic", "echo $_comps[llmroute]"], "_llmroute"),
        ("fish", ["-c", "complete -C 'llmroute costs ca'"], "calls"),
    ],
)
def test_a_shell_uses_what_was_installed_for_it_from_another(
    shell: str, ask: list[str], told: str, tmp_path: Path
) -> None:
    called_from("sh", f"--install-completion {shell}", tmp_path)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    settings = shell_environment(tmp_path)
    ended = subprocess.run([shell, *ask], env=settings, cwd=tmp_path, capture_output=True, timeout=120, check=True)
    assert ended.stdout.decode().strip() == told, ended.stderr


@pytest.mark.parametrize(("shell", "rc"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_install_completion_puts_the_script_where_the_shell_finds_it(
    shell: str, rc: str | None, tmp_path: Path
) -> None:
    for _ in range(2):
        ran = run("--install-completion", shell, home=tmp_path)
        assert ran.code == 0, ran.err
    seen = run_on_terminal("--install-completion", shell, home=tmp_path)
    assert "completion installed in" in seen.text
    assert "\x1b" not in seen.text
    script = (SHIPPED / PRINTED[shell]).read_text().strip()
    installed = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_text().strip() == script]
    assert len(installed) == 1
    if rc:
        assert (tmp_path / rc).read_text().count(str(installed[0].parent.name)) >= 1
