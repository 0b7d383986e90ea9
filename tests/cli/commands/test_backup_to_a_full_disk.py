"""A backup that does not fit on its disk: one line, and nothing of it is left there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from llmroute import exit_codes
from tests.ledger.stores import postgres
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.shell import TIMEOUT_S, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer

__all__ = ["postgres"]

NO_DISK = 77
# With fewer pages than the tables of a ledger.
COMMANDS = f"""
mount -t tmpfs -o size=96k tmpfs "$1" || exit {NO_DISK}
"$2" -m llmroute costs backup "$1/copy.db"
code=$?
ls -A "$1"
exit $code
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="mounts a small disk")
@pytest.mark.parametrize("on_server", [False, True])
def test_a_backup_that_does_not_fit_leaves_nothing(on_server: bool, tmp_path: Path, postgres: PostgresServer) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    url = postgres.database() if on_server else ""
    with ModelServer() as models:
        assert Host(tmp_path, url, models).gen().code == 0
    ran = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", COMMANDS, "sh", disk, sys.executable],
        env=environment(tmp_path, LLMROUTE_LEDGER=url),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ran.returncode in (1, NO_DISK) and "llmroute" not in ran.stderr:
        pytest.skip(f"no disk of its own can be mounted here: {ran.stderr}")
    assert ran.stderr == f"llmroute: {disk}/copy.db cannot be written: the disk is full\n"
    assert (ran.returncode, ran.stdout) == (exit_codes.SETUP, "")
