"""A Python with an SQLite library that has no STRICT tables is told so, before anything is written."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.sqlite.store import Ledger
from tests.support.model_server import ModelServer
from tests.support.shell import Ran, environment

if TYPE_CHECKING:
    from pathlib import Path

# The version that the library claims is all that is read of it.
WITH_OLD_SQLITE = """
import sqlite3
sqlite3.sqlite_version_info, sqlite3.sqlite_version = (3, 36, 0), "3.36.0"
from llmroute.__main__ import run
run()
"""
TOLD = "the ledger needs SQLite 3.37.0 or newer, and this Python has 3.36.0"


def run(*arguments: str, home: Path, **settings: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", WITH_OLD_SQLITE, *arguments],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_ledger_is_neither_made_nor_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.36.0")
    with pytest.raises(LedgerError, match=TOLD) as caught:
        Ledger(tmp_path / "ledger.db")
    assert caught.value.exit_code == 3
    assert caught.value.hint is not None
    assert sys.executable in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_version_that_will_do_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 0))
    Ledger(tmp_path / "ledger.db").close()


@pytest.mark.parametrize("command", ["costs", "costs check", "costs calls"])
def test_a_command_that_reads_the_ledger_says_it_in_one_line_and_exits_with_3(command: str, tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "ledger.db").touch()
    ran = run(*command.split(), home=tmp_path)
    assert (ran.code, ran.out) == (3, "")
    (line,) = ran.err.splitlines()
    assert line.startswith(f"llmroute: {TOLD} (install llmroute with a Python that is built with a newer SQLite")


def test_an_answer_is_printed_all_the_same_unless_a_budget_binds(tmp_path: Path) -> None:
    with ModelServer() as server:
        ask = ("gen", "hi", "-m", "openai/gpt-5.4-mini")
        ran = run(*ask, home=tmp_path, **server.settings)
        assert (ran.code, ran.out) == (0, "one two three\n")
        (line,) = ran.err.splitlines()
        assert line.endswith(TOLD)
        ran = run(*ask, "--budget", "1", home=tmp_path, **server.settings)
        assert (ran.code, ran.out) == (5, "")
        assert TOLD in ran.err
        assert len(server.requests) == 1
