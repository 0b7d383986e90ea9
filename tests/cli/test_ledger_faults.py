"""Whatever happens to the ledger, the answer is printed, the row is kept, and a budget is not."""

from __future__ import annotations

import ctypes
import os
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger import spool
from tests.support.shell import LLMROUTE, Ran, environment, rows, run, start
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.model_server import ModelServer

MODEL = "openai/gpt-5.4-mini"
ASK = ("gen", "hi", "-m", MODEL, "--no-fallback")


@pytest.fixture
def ledger(server: ModelServer, tmp_path: Path) -> Iterator[Path]:
    """A ledger with one call in it, and a short patience with whoever locks it."""
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text("[timeouts]\nledger_s = 0.2\n")
    assert run(*ASK, home=tmp_path, **server.settings).code == 0
    path = tmp_path / "llmroute" / "ledger.db"
    yield path
    for place in spool.places(path)[1:]:
        place.unlink(missing_ok=True)


def limited(limit: Callable[[], None], server: ModelServer, home: Path, *more: str) -> Ran:
    """Ask from a process that has been limited before it begins."""
    done = subprocess.run(
        [*LLMROUTE, *ASK, *more],
        env=environment(home, **server.settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=limit,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def full_disk() -> None:
    """Let no file grow beyond a few kilobytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_500, 3_500))


def no_overriding_of_modes() -> None:
    """Make modes hold for root too: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH go."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def assert_answered_and_spooled(ran: Ran, ledger: Path) -> None:
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("llmroute: warning: this call is not in the ledger yet")
    (place,) = spool.waiting(ledger)
    assert str(place) in ran.err
    assert place.stat().st_mode & 0o777 == 0o600


def assert_taken_in_once(home: Path, ledger: Path, calls: int) -> None:
    assert run("costs", home=home).code == 0
    assert spool.waiting(ledger) == []
    assert [row["status"] for row in rows(home)] == ["ok"] * calls
    assert run("costs", "check", home=home).code == 0


def test_a_locked_ledger(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_answered_and_spooled(run(*ASK, home=tmp_path, **server.settings), ledger)
        other.execute("ROLLBACK")
    assert_taken_in_once(tmp_path, ledger, 2)


def test_a_lock_that_outlasts_the_command_costs_no_answer(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "llmroute" / "config.toml").unlink()
    code = f"""
import sqlite3, time
db = sqlite3.connect({str(ledger)!r}, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        assert_answered_and_spooled(run(*ASK, home=tmp_path, **server.settings), ledger)
        assert other.poll() is None, "the lock was held all the time"
        other.kill()
    assert_taken_in_once(tmp_path, ledger, 2)


def test_a_lock_that_is_let_go_in_time_is_waited_for(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "llmroute" / "config.toml").write_text(f"[timeouts]\nledger_s = {PATIENCE_S}\n")
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process = start(*ASK, home=tmp_path, **server.settings)
        time.sleep(3)
        other.execute("ROLLBACK")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, b"one two three\n", b"")
    assert len(rows(tmp_path)) == 2


def test_a_full_disk(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    assert_answered_and_spooled(limited(full_disk, server, tmp_path), ledger)
    assert_taken_in_once(tmp_path, ledger, 2)


def test_a_read_only_directory(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    for file in ledger.parent.iterdir():
        file.chmod(0o400)
    ledger.parent.chmod(0o500)
    try:
        ran = limited(no_overriding_of_modes, server, tmp_path)
    finally:
        ledger.parent.chmod(0o700)
        for file in ledger.parent.iterdir():
            file.chmod(0o600)
    assert_answered_and_spooled(ran, ledger)
    assert spool.waiting(ledger)[0].is_relative_to(spool.ELSEWHERE)
    assert_taken_in_once(tmp_path, ledger, 2)


def test_a_ledger_that_is_deleted_during_a_call(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    server.may_answer.clear()
    server.requests.clear()
    process = start(*ASK, home=tmp_path, **server.settings)
    wait_until(lambda: server.requests)
    ledger.unlink()
    server.may_answer.set()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert_answered_and_spooled(Ran(process.returncode, out.decode(), err.decode()), ledger)
    assert_taken_in_once(tmp_path, ledger, 1)


def test_a_corrupt_ledger_is_said_and_mended(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    for file in (ledger, ledger.with_name("ledger.db-wal")):
        file.write_bytes(os.urandom(20_000))
    assert_answered_and_spooled(run(*ASK, home=tmp_path, **server.settings), ledger)
    found = run("costs", "check", home=tmp_path)
    assert found.code == 3
    assert "not a database" in found.out
    mended = run("costs", "check", "--repair", home=tmp_path)
    assert (mended.code, mended.err) == (0, "")
    assert list(ledger.parent.glob("ledger.db.corrupt-*"))
    assert_taken_in_once(tmp_path, ledger, 1)


@pytest.mark.parametrize("fault", ["locked", "full", "corrupt"])
@pytest.mark.parametrize("budget", [(), ("--budget", "5")], ids=["a cap", "--budget"])
def test_under_a_budget_nothing_is_sent(
    fault: str, budget: tuple[str, ...], server: ModelServer, ledger: Path, tmp_path: Path
) -> None:
    server.requests.clear()
    if not budget:
        with (tmp_path / "llmroute" / "config.toml").open("a") as config:
            config.write("[budgets]\nmonth = 5\n")
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        if fault == "locked":
            other.execute("BEGIN IMMEDIATE")
        if fault == "corrupt":
            ledger.write_bytes(os.urandom(20_000))
        ran = limited(full_disk if fault == "full" else lambda: None, server, tmp_path, *budget)
    assert (ran.code, ran.out, server.requests) == (5, "", [])
    assert "a budget is in force and cannot be kept" in ran.err
    assert "nothing was sent" in ran.err
    assert spool.waiting(ledger) == []


def test_copies_and_old_rows(server: ModelServer, ledger: Path, tmp_path: Path) -> None:
    ran = run("costs", "backup", "copy.db", home=tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    assert run("costs", "backup", "copy.db", home=tmp_path).code == 2
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("DELETE FROM rollups")
        db.execute("UPDATE attempts SET started_ms = started_ms - 100 * 86400000")
        db.execute("DELETE FROM rollups WHERE call_count = 0")
    bill = run("costs", "--period", "all", home=tmp_path).out
    assert run("costs", "prune", "--older-than", "90d", home=tmp_path).code == 2, "it deletes nothing unasked"
    assert "1 attempt before" in run("costs", "prune", "--older-than", "90d", "--dry-run", home=tmp_path).err
    assert len(rows(tmp_path)) == 1
    pruned = run("costs", "prune", "--older-than", "90d", "--yes", home=tmp_path)
    assert pruned.code == 0
    assert "1 attempt before" in pruned.err
    assert rows(tmp_path) == []
    lines = run("costs", "--period", "all", home=tmp_path).out.splitlines()
    lines.remove("1 call is pruned: whether its cost is exact is not known")
    assert lines == bill.splitlines()
    assert run("costs", "prune", "--older-than", "soon", home=tmp_path).code == 2
    assert server.requests
