"""A process that is stopped while it holds a lock of the ledger keeps no other for longer than was allowed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from llmroute.files import Hold, locked
from llmroute.ledger import spool
from llmroute.ledger.entries import Pending
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.sqlite.locks import folder_held
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS
from llmroute.ledger.sqlite.store import Ledger
from tests.ledger.calls import row, settled
from tests.support.shell import rows, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.model_server import ModelServer

ASK = ("gen", "hi", "-m", "openai/gpt-5.4-mini", "--no-fallback")
# How long a command takes on a machine that is busy, locks aside.
BUSY_S = 30.0
# A limit for locks that no test reaches.
PATIENT_S = 100.0

HOLD = """
import fcntl, os, sqlite3, sys
what, path = sys.argv[1:]
if what == "file":
    fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
elif what == "folder":
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
else:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def stopped_holder(what: str, path: Path) -> Iterator[None]:
    """Have a process take a lock and be stopped, as by Ctrl-Z."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, what, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        holder.kill()
        holder.communicate()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Path]:
    """The place of a ledger; there is none yet."""
    path = tmp_path / "llmroute" / "ledger.db"
    path.parent.mkdir()
    yield path
    for place in spool.places(path)[1:]:
        place.unlink(missing_ok=True)


def allow(seconds: float, ledger: Path) -> None:
    (ledger.parent / "config.toml").write_text(f"[timeouts]\nledger_s = {seconds}\n")


def assert_nothing_is_lost(home: Path, calls: int) -> None:
    assert run("costs", home=home).code == 0
    assert [found["status"] for found in rows(home)] == ["ok"] * calls


@pytest.mark.parametrize("what", ["database", "file", "folder"])
def test_an_answer_comes_and_its_row_is_kept(what: str, ledger: Path, server: ModelServer, tmp_path: Path) -> None:
    allow(0.5, ledger)
    places = {"database": ledger, "file": spool.places(ledger)[0], "folder": ledger.parent}
    if what != "folder":
        Ledger(ledger).close()
        # Something waits, so that the spool is locked too.
        spool.keep(settled(row("waits"), 7), ledger)
    with stopped_holder(what, places[what]):
        began_s = time.monotonic()
        ran = run(*ASK, home=tmp_path, **server.settings)
        assert (ran.code, ran.out) == (0, "one two three\n")
        assert time.monotonic() - began_s < 0.5 + BUSY_S
        began_s = time.monotonic()
        assert run("costs", home=tmp_path).code in (0, 3)
        assert time.monotonic() - began_s < 0.5 + BUSY_S
    assert_nothing_is_lost(tmp_path, 1 if what == "folder" else 2)


def test_the_deadline_of_a_request_includes_the_wait_for_the_ledger(
    ledger: Path, server: ModelServer, tmp_path: Path
) -> None:
    allow(PATIENT_S, ledger)
    Ledger(ledger).close()
    server.pause_s = 0.3
    with stopped_holder("database", ledger):
        began_s = time.monotonic()
        ran = run(*ASK, "--timeout", "12", home=tmp_path, **server.settings)
        assert (ran.code, ran.out) == (0, "one two three\n")
        assert time.monotonic() - began_s < PATIENT_S
    assert_nothing_is_lost(tmp_path, 1)


def test_six_at_once_with_a_waiting_spool_wait_once_each(ledger: Path, server: ModelServer, tmp_path: Path) -> None:
    allow(1, ledger)
    Ledger(ledger).close()
    spool.keep(settled(row("waits"), 7), ledger)
    with stopped_holder("database", ledger):
        began_s = time.monotonic()
        processes = [start(*ASK, home=tmp_path, **server.settings) for _ in range(6)]
        told = [process.communicate(timeout=PATIENT_S) for process in processes]
        assert time.monotonic() - began_s < 1 + 3 * BUSY_S
    assert [(process.returncode, out) for process, (out, _) in zip(processes, told, strict=True)] == [
        (0, b"one two three\n")
    ] * 6
    assert_nothing_is_lost(tmp_path, 7)


def test_a_cap_lets_nothing_pass_while_calls_wait_in_a_spool_that_is_locked(
    ledger: Path, server: ModelServer, tmp_path: Path
) -> None:
    allow(0.5, ledger)
    with (ledger.parent / "config.toml").open("a") as config:
        config.write("[budgets]\nmonth = 5\n")
    Ledger(ledger).close()
    place = spool.keep(settled(row("waits"), 7), ledger)
    with stopped_holder("file", place):
        ran = run(*ASK, home=tmp_path, **server.settings)
        assert (ran.code, ran.out, server.requests) == (5, "", [])
        assert f"{place} is locked by another process" in ran.err
    assert run(*ASK, home=tmp_path, **server.settings).code == 0


def test_all_waits_of_a_ledger_together_take_no_longer_than_its_patience(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        patience = LockTimeout(2)
        with Ledger(path, patience=patience) as ledger:
            began_s = time.monotonic()
            for call in range(5):
                (outcome,) = ledger.write([Pending(row(str(call)))])
                assert outcome is not None
            # Each for itself would take ten seconds.
            assert time.monotonic() - began_s < 8
            other.execute("ROLLBACK")
            assert ledger.write([Pending(row("free"))]) == [None]


def test_patience_ends_with_its_deadline_and_a_renewal_brings_back_what_was_spent() -> None:
    assert LockTimeout(10, 0).left_s == 0
    assert 40 < LockTimeout(100, 50).left_s <= 50
    patience = LockTimeout(10)
    with patience.spent():
        time.sleep(0.01)
    assert patience.left_s < 10
    patience.renew()
    assert patience.left_s == 10


def test_a_lock_is_had_as_soon_as_it_is_free(tmp_path: Path) -> None:
    with folder_held(tmp_path, Hold.ALONE, LockTimeout(1)):
        fd = os.open(tmp_path, os.O_RDONLY)
        assert not locked(fd, 0.05)
    assert locked(fd, 0)
    os.close(fd)


def test_a_repair_waits_for_no_stopped_process_for_ever(ledger: Path, tmp_path: Path) -> None:
    allow(0.3, ledger)
    with Ledger(ledger) as made:
        made.settle(settled(row("settled"), 7))
    with stopped_holder("folder", ledger.parent):
        for command in (
            ("check", "--repair", "--json"),
            ("restore", "copy.db"),
            ("correct", "1", "--cost", "1", "--json"),
        ):
            began_s = time.monotonic()
            ran = run("costs", *command, home=tmp_path)
            assert time.monotonic() - began_s < 0.3 + BUSY_S
            assert ran.code in (2, 3)
            if "--json" in command:
                assert "locked" in json.loads(ran.out)["error"]["message"]


@pytest.mark.parametrize("version", [len(MIGRATIONS), len(MIGRATIONS) - 1])
def test_whatever_only_reads_needs_no_lock_of_the_directory(
    version: int, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the command may take here.
    allow(3600, ledger)
    with monkeypatch.context() as patch:
        patch.setattr("llmroute.ledger.sqlite.schema.migrations.MIGRATIONS", MIGRATIONS[:version])
        Ledger(ledger).close()
    insert = "INSERT INTO attempts (request_id, attempt, status, started_ms, provider, model, streaming, usage_source, "
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute(f"{insert} cost_picousd) VALUES ('r', 1, 'ok', 1790000000000, 'openai', 'm', 0, 'none', 5)")
    with stopped_holder("folder", ledger.parent):
        for command in (
            "--period all --workspace none --json",
            "calls",
            "export -",
            "budget",
            "check",
            "backup copy.db",
            "prune --older-than 1d --dry-run",
        ):
            ran = run("costs", *command.split(), home=tmp_path)
            assert ran.code == 0, (command, ran)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("SELECT request_id, cost_picousd FROM attempts").fetchall() == [("r", 5)]
    assert_nothing_is_lost(tmp_path, 1)
