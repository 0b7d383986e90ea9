"""What `costs export --format focus` writes, as the FinOps Foundation's own validator judges it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.commands.test_costs_export import COST, attempt, home_with
from tests.conftest import PROJECT, REAL_HOME
from tests.focus.__main__ import NO_ENVIRONMENT
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

TIERED = json.dumps({"input": 7, "output": 11, "tiers": [{"above": 100, "input": 1_234_567, "output": 7_654_321}]})
ATTEMPTS = (
    attempt(0),
    attempt(1, workspace=None, task=None, latency_ms=None),
    attempt(2, cost_picousd=1_000 * 1_234_567 + 50 * 7_654_321, price=TIERED, service_tier="batch"),
    attempt(3, cost_picousd=123_456_789_012, cost_basis="corrected"),
    attempt(4, status="failed", error="ServerError", cost_picousd=COST, workspace="=cmd|' /C calc'!A0\r\n"),
    attempt(6, model="modèle-é"),
    attempt(5, provider="together", model="meta-llama/Llama-3.3-70B", task='"quoted", ünï'),
)


def validated(file: Path) -> dict[str, Any]:
    """Return the outcomes of a file's rules; skip where the validator cannot be installed."""
    command = (sys.executable, "-m", "tests.focus", str(file))
    # uv keeps its packages in the home directory.
    env = os.environ | {"HOME": str(REAL_HOME)}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    if done.returncode == NO_ENVIRONMENT:
        pytest.skip(f"focus-validator does not install here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


def test_the_public_validator_finds_no_fault_in_an_export(tmp_path: Path) -> None:
    home = home_with(tmp_path, *ATTEMPTS)
    assert run("costs", "export", "bill.csv", "--format", "focus", home=home).code == 0
    outcomes = validated(home / "bill.csv")
    passed, failed = set(outcomes["passed"]), set(outcomes["failed"])
    # The validator judges each alternative for itself: that InvoiceId is null where there is no invoice fails the rule
    # for charges with one, although the rule that either holds passes.
    excluded = {rule for whole, rules in outcomes["alternatives"].items() if whole in passed for rule in rules}
    assert failed <= excluded, failed - excluded
    assert {"InvoiceId-C-000-O", "Tags-C-000-C", "SkuPriceId-C-000-C"} <= passed
    assert len(passed) > 250
