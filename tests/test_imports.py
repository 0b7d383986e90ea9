"""What each command may load: a fresh interpreter says which heavy modules it holds when it is done."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.rows import AttemptRow
from llmroute.ledger.store import Ledger
from tests.model_server import ModelServer
from tests.shell import environment

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    "httpcore",
    "httpx",
    "pydantic",
    "rich",
    "sqlite_utils",
    "sqlite3",
    "asyncio",
    "dotenv",
    "xllamacpp",
    "tomllib",
}
TELL = f"""
import sys
from llmroute.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sorted({HEAVY!r} & {{name for name, module in sys.modules.items() if module is not None}}), file=sys.stderr)
"""


def loaded(*arguments: str, home: Path, **settings: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", TELL, *arguments],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return set(ended.stderr.decode().splitlines()[-1].split())


LIGHT = [
    ("--help",),
    ("--version",),
    ("gen", "--help"),
    ("models",),
    ("models", "--help"),
    ("models", "--sort", "price", "--capability", "code"),
    ("models", "show", "gpt-6.1-sol"),
]


@pytest.mark.parametrize("arguments", LIGHT)
def test_commands_that_send_and_store_nothing_load_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded(*arguments, home=tmp_path) == set()


@pytest.mark.parametrize("arguments", [(), ("--by", "hour", "--csv"), ("calls",)])
def test_costs_load_the_ledger_only(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded("costs", *arguments, home=tmp_path) <= {"sqlite3", "sqlite_utils"}
    (tmp_path / "llmroute").mkdir()
    row = AttemptRow("r", 1, time.time_ns() // 10**6, "openai", "m", streaming=False, status="ok", input_tokens=9)
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        ledger.settle(row)
    assert loaded("costs", *arguments, home=tmp_path) == {"sqlite3", "sqlite_utils"}


@pytest.mark.parametrize("command", ["budget", "check"])
def test_the_keeping_of_the_ledger_loads_nothing_else(command: str, tmp_path: Path) -> None:
    assert loaded("costs", command, home=tmp_path) <= {"sqlite3"}


@pytest.mark.parametrize("arguments", [("health",), ("chains",), ("models", "--available")])
def test_commands_that_ask_the_local_server_load_the_transport_only(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded(*arguments, home=tmp_path) == {"httpcore"}


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_an_answer_loads_the_transport_and_the_ledger_only(command: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        found = loaded(command, "hi", "-m", "openai/gpt-4o", "--no-fallback", home=tmp_path, **server.settings)
    assert found == {"httpcore", "sqlite3"}


def test_settings_load_their_readers_once(tmp_path: Path) -> None:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    (folder / "config.toml").write_text('strategy = "cost_optimized"\n[models."openai/house"]\ninput = 1\n')
    assert {"pydantic", "tomllib"} <= loaded("models", home=tmp_path)
    assert loaded("models", home=tmp_path) == set(), "the compiled snapshot needs neither"
    (folder / ".env").write_text("LLM_WORKSPACE=w\n")
    assert loaded("models", home=tmp_path) == {"dotenv"}


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = f"import sys, llmroute; print(*({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b""
