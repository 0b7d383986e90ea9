"""Batch jobs from the command line that are killed at each step, with a ledger in a file and on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs.homes import GEN, Home
from tests.jobs.killed import prompts, schema_of
from tests.ledger.stores import postgres
from tests.support.batch_vendor import MODELS, TOGETHER_CONFIG
from tests.support.shell import environment

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer

__all__ = ["postgres"]

PROJECT = Path(__file__).resolve().parents[2]
FEWEST_STEPS = 15


class ServerHome(Home):
    """A home whose ledger is a schema of its own in the database of a server."""

    server_of_ledger: PostgresServer
    database: str

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        own = sql.replace("FROM ", f"FROM {schema_of(self.folder)}.").replace("ifnull", "coalesce")
        return self.server_of_ledger.execute(own, self.database)


def resumed(home: Home, vendor_name: str, stride: int, *arguments: str, code: int) -> list[Home]:
    """Kill runs at each step, each in a home of its own, resume them, and compare with the vendor's bill.

    The arguments are those of `tests.jobs.killed`; `code` is the exit code of each resumed run.  Returns the homes.
    """
    homes = home.folder / "homes"
    homes.mkdir()
    (homes / "config.toml").write_text(TOGETHER_CONFIG)
    command = [sys.executable, "-m", "tests.jobs.killed", str(homes), MODELS[vendor_name], str(stride), *arguments]
    environ = environment(home.folder, **home.settings) | {"PYTHONPATH": str(PROJECT)}
    ran = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, check=True)
    codes = json.loads(ran.stdout)
    assert len(codes) >= FEWEST_STEPS // stride
    assert set(codes) == {code}
    killed_homes = {step: home.at(homes / str(step)) for step in range(0, (len(codes) + 1) * stride, stride)}
    for step, killed in killed_homes.items():
        one, two, fail = killed.results()
        assert [one["content"], two["content"]] == [f"answer\u2028{prompt}" for prompt in prompts(step)[:2]]
        assert "this prompt fails" in fail["error"]["message"]
        assert killed.query("SELECT count(*) FROM attempts WHERE status = 'pending'") == [(0,)]
    # A run that was over when it was killed repeats what failed, which costs nothing.
    assert max(count for prompt, count in home.vendor.runs.items() if not prompt.startswith("fail")) == 1
    assert sum(killed.billed() for killed in killed_homes.values()) == home.vendor.bill_picousd > 0
    return [*killed_homes.values()]


def check_command_resumed(home: Home, vendor_name: str, stride: int) -> None:
    """Check that runs of the command leave nothing behind, the last line of which the provider rejects."""
    for killed in resumed(home, vendor_name, stride, *GEN, code=2):
        assert not [file for folder in killed.folder.glob("*.jobs") for file in folder.iterdir()]
    assert not home.vendor.files


@pytest.mark.parametrize(("vendor_name", "stride"), [("openai", 1), ("anthropic", 1), ("mistral", 4), ("together", 4)])
def test_a_run_that_is_killed_at_any_step_is_resumed_without_loss(home: Home, vendor_name: str, stride: int) -> None:
    check_command_resumed(home, vendor_name, stride)


@pytest.mark.parametrize(("vendor_name", "stride"), [("openai", 3), ("anthropic", 3)])
def test_a_run_with_its_ledger_on_a_server_is_resumed_without_loss(
    home: Home, postgres: PostgresServer, vendor_name: str, stride: int
) -> None:
    on_server = ServerHome(home.folder, home.vendor, home.server)
    url = postgres.database()
    on_server.server_of_ledger, on_server.database = postgres, url.rpartition("/")[2]
    on_server.settings["LLMROUTE_LEDGER"] = url
    check_command_resumed(on_server, vendor_name, stride)
