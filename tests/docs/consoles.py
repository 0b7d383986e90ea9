"""Examples whose output is real: each command runs in a shell with a home of its own, against a server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.model_server import ModelServer
from tests.support.shell import environment

if TYPE_CHECKING:
    from collections.abc import Callable

# How fast a server on loopback answers says nothing: each example shows these seconds.
SECONDS = "1.2 s"


def console(script: str, home: Path, **settings: str) -> str:
    """Run each command and return them with what a terminal would show, stdout and stderr together."""
    env = environment(home, **settings)
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    shown = []
    for command in script.splitlines():
        ran = subprocess.run(
            ["bash", "-c", command],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            text=True,
        )
        shown.append(f"$ {command}\n{ran.stdout}")
    return f"```console\n{re.sub(r'[0-9.]+ s$', SECONDS, ''.join(shown), flags=re.MULTILINE)}```\n"


def stage_a_change(home: Path) -> None:
    """Make a repository with a change that is staged."""
    for command in ("init -q .", "config user.name A", "config user.email a@example.com"):
        subprocess.run(["git", *command.split()], cwd=home, check=True)
    (home / "batch.py").write_text("check(budget)\n")
    subprocess.run(["git", "add", "."], cwd=home, check=True)


def commit_message() -> str:
    """Return the first example of README."""
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
        home = Path(folder)
        stage_a_change(home)
        server.words = ("Validate the batch budget in dry runs",)
        server.usage = {"prompt_tokens": 812, "completion_tokens": 11}
        return console('git diff --staged | llmroute gen "Write a commit message." --usage', home, **server.settings)


CONSOLES: dict[str, Callable[[], str]] = {"commit message": commit_message}
