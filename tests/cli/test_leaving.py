"""Leaving: the first signal settles what is under way, the second one does not wait for anything."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.model_server import ModelServer
from tests.support.shell import environment, run, signalled, start
from tests.support.waiting import PATIENCE_S, wait_until

ASK = ("gen", "hi", "-m", "openai/gpt-5.4-mini", "--no-fallback")
# Holds the ledger's lock until its stdin ends.
LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def _has_open(pid: int, path: Path) -> bool:
    open_files = Path(f"/proc/{pid}/fd")
    return not open_files.exists() or any(_target(each) == str(path) for each in open_files.iterdir())


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        # It was closed since the folder was read.
        return ""


@pytest.mark.parametrize("moment", ["before the call", "during the call"])
def test_a_second_signal_leaves_at_once_even_while_another_process_holds_the_ledger(
    moment: str, tmp_path: Path
) -> None:
    with ModelServer() as server:
        assert run(*ASK, home=tmp_path, **server.settings).code == 0
        ledger = tmp_path / "llmroute" / "ledger.db"
        server.requests.clear()
        # Longer than any wait here.
        (tmp_path / "llmroute" / "config.toml").write_text(f"[timeouts]\nledger_s = {10 * PATIENCE_S}\n")
        server.pause_s = 10 * PATIENCE_S if moment == "during the call" else 0.0
        locker = [sys.executable, "-c", LOCKER, str(ledger)]

        def lock() -> subprocess.Popen[bytes]:
            other = subprocess.Popen(locker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path))
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            return other

        other = lock() if moment == "before the call" else None
        process = start(*ASK, home=tmp_path, **server.settings)
        if other is None:
            wait_until(lambda: server.requests)
            other = lock()
        else:
            wait_until(lambda: _has_open(process.pid, ledger))
            time.sleep(1)
        signalled(process, signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "it waits for the ledger, to settle what it has begun"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err) == (130, b"", b"")
        other.communicate(timeout=PATIENCE_S)
    # What could not be settled is given up by the next run.
    assert run("costs", home=tmp_path).code == 0
    with closing(sqlite3.connect(ledger)) as db:
        left = "lost" if moment == "during the call" else "ok"
        assert db.execute("SELECT status FROM attempts ORDER BY id DESC").fetchone() == (left,)


WORK = """
import asyncio, os, signal, sys, time
from llmroute.cli import signals
signals.GRACE_S = 0.3
async def work():
    os.kill(os.getpid(), signal.SIGTERM)
    if sys.argv[1] == "twice":
        signals.GRACE_S = 600
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGINT)
    elif sys.argv[1] == "held":
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGTERM)
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("cancelled")
        if sys.argv[1] == "held":
            time.sleep(600)
        raise
signals.install()
if sys.argv[1] == "held":
    signals.SETTLE_S = 0.3
    signals.GRACE_S = 600
print("ended by", signals.run_until_signal(work(), lambda: print("winding down")), flush=True)
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("once", 0, "winding down\ncancelled\nended by 15\n"),
        ("twice", 0, "winding down\ncancelled\nended by 15\n"),
        ("held", 143, "winding down\ncancelled\n"),
    ],
)
def test_what_is_under_way_has_a_bounded_time_to_end_and_to_be_settled(how: str, code: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-u", "-c", WORK, how],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout.decode(), ended.stderr) == (code, said, b"")


def assert_interrupted(code: str, *arguments: str, home: Path) -> None:
    """Expect a program to end as one that was interrupted, without a word."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


def test_a_signal_that_comes_before_they_are_taken_leaves_no_trace(tmp_path: Path) -> None:
    code = "import os, signal, llmroute.cli as cli; cli.main = lambda: signal.raise_signal(signal.SIGINT) or cli.app()"
    assert_interrupted(f"{code}\nfrom llmroute.__main__ import run\nrun()", home=tmp_path)


# Interrupts itself at a numbered one of the modules that it looks for once it is in our hands.
INTERRUPT_AT = """
import os, signal, sys
class Finder:
    left = None
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if cls.left is not None:
            cls.left -= 1
            if cls.left == 0:
                signal.raise_signal(signal.SIGINT)
        elif name == "llmroute.__main__":
            cls.left = int(sys.argv.pop(1))
sys.meta_path.insert(0, Finder)
from llmroute.__main__ import run
run()
"""


@pytest.mark.parametrize("module", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 120])
def test_an_interrupt_at_any_import_of_the_program_ends_it_without_a_trace(module: int, tmp_path: Path) -> None:
    assert_interrupted(INTERRUPT_AT, str(module), "costs", home=tmp_path)


def test_what_runs_before_interrupts_are_taken_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    tell = "import sys; had = {*sys.modules}; import llmroute.__main__; print(*sorted({*sys.modules} - had))"
    ended = subprocess.run(
        [sys.executable, "-c", tell], env=environment(tmp_path), capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert ended.stdout.decode().split() == [
        *("__future__", "llmroute", "llmroute.__main__", "llmroute.defaults", "llmroute.version")
    ]


# A signal that comes while a class is made arrives as a RuntimeError; one may come when all is done, too.
ODD_MOMENTS = {
    "in a class": """
class Part:
    def __set_name__(self, owner, name): signal.raise_signal(signal.SIGINT)
cli.app = lambda **_: type("Whole", (), {"part": Part()})
""",
    "while a failure is told": """
import llmroute.cli.errors as failures
failures.report_usage = lambda error: signal.raise_signal(signal.SIGINT)
cli.app = lambda **_: 1 / 0
""",
    "at the end": "signals._drop_output = lambda: signal.raise_signal(signal.SIGINT); cli.app = lambda **_: 0",
}


@pytest.mark.parametrize("moment", ODD_MOMENTS)
def test_an_interrupt_at_an_odd_moment_is_no_bug(moment: str, tmp_path: Path) -> None:
    code = f"import os, signal, llmroute.cli as cli; from llmroute.cli import signals\n{ODD_MOMENTS[moment]}"
    assert_interrupted(f"{code}\nfrom llmroute.__main__ import run\nrun()", home=tmp_path)
