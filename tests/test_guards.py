"""The guards of this suite bite."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.conftest import REAL_HOME, ReachedTooFarError


def test_a_test_that_writes_into_the_real_home_fails() -> None:
    with pytest.raises(ReachedTooFarError, match="real home"):
        (REAL_HOME / ".config-of-nobody").write_text("x")


def test_a_test_that_opens_a_database_in_the_real_home_fails() -> None:
    with pytest.raises(ReachedTooFarError, match="real home"):
        sqlite3.connect(REAL_HOME / "ledger-of-nobody.db")


def test_a_test_that_connects_beyond_this_machine_fails() -> None:
    with socket.socket() as line, pytest.raises(ReachedTooFarError, match="not this machine"):
        line.connect(("192.0.2.1", 80))


def test_a_test_that_looks_a_name_up_fails() -> None:
    with pytest.raises(ReachedTooFarError, match="not this machine"):
        httpx.get("http://llmroute.invalid/")


def test_the_home_that_a_test_sees_is_its_own(guarded: Path) -> None:
    assert Path.home() == guarded != REAL_HOME
