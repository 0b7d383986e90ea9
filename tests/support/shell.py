"""Run the program as its users do: a process of its own, with a home of its own."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.preloaded import Preloaded
from tests.support.waiting import wait_until

LLMROUTE = (sys.executable, "-m", "llmroute")
TIMEOUT_S = 120
# What Python, typer and psycopg read when they start.
READ_AT_START = (
    "PYTHON",
    "LC_",
    "LANG",
    "FORCE_COLOR",
    "PY_COLORS",
    "TERMINAL_WIDTH",
    "GITHUB_ACTIONS",
    "PSYCOPG_IMPL",
)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Return an environment with nothing in it but a home and the settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "LLMROUTE_CONFIG_DIR": str(home / "llmroute"), "TZ": "UTC", **settings}


@dataclass(frozen=True)
class Ran:
    """What a process left behind."""

    code: int
    out: str
    err: str


@functools.cache
def _preloaded() -> Preloaded:
    return Preloaded(environment(Path(os.devnull)))


def run(*arguments: str, home: Path, stdin: str = "", **settings: str) -> Ran:
    """Run `llmroute` with arguments; stdin is a pipe, empty unless given."""
    if any(name.startswith(READ_AT_START) for name in settings):
        return _run_from_nothing(*arguments, home=home, stdin=stdin, **settings)
    command = {"arguments": arguments, "environment": environment(home, **settings), "folder": str(home)}
    code, out, err = _preloaded().run(command, stdin.encode(), TIMEOUT_S)
    return Ran(code, out.decode(), err.decode())


def _run_from_nothing(*arguments: str, home: Path, stdin: str, **settings: str) -> Ran:
    done = subprocess.run(
        [*LLMROUTE, *arguments],
        env=environment(home, **settings),
        cwd=home,
        input=stdin.encode(),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def _mind_signals() -> None:
    """Undo what a parent may have left: a job that runs in the background is told to ignore some signals."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(*arguments: str, home: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Start `llmroute` and leave it running, with pipes for output and no stdin."""
    return subprocess.Popen(
        [*LLMROUTE, *arguments],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_mind_signals,  # noqa: PLW1509 (nothing but signals is touched)
    )


def signalled(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal, and wait until it has arrived: one that is sent again before that is lost."""
    process.send_signal(number)
    status = Path(f"/proc/{process.pid}/status")
    wait_until(lambda: re.search(r"^ShdPnd:\s*0+$", status.read_text(), re.MULTILINE))


def rows(home: Path) -> list[dict[str, Any]]:
    """Return the attempts in the ledger of `home`, oldest first."""
    import sqlite3

    db = sqlite3.connect(home / "llmroute" / "ledger.db")
    try:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM attempts ORDER BY id")]
    finally:
        db.close()
