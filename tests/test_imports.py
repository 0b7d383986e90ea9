"""What each command may load: a fresh interpreter says which heavy modules it holds when it is done."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.app import SUMMARIES, called
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from tests.support.model_server import ModelServer
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAVY = {
    "httpcore",
    "httpx",
    "httpx._main",
    "pydantic",
    "jsonschema",
    # What the extra of jsonschema for all formats brings: seconds of CPU.
    "arrow",
    "lark",
    "rich",
    "psycopg",
    "sqlite_utils",
    "sqlite3",
    "asyncio",
    "dotenv",
    "xllamacpp",
    "click",
    "http.client",
    "urllib.request",
    "tomlkit",
    "tomllib",
}
TELL = f"""
import sys
from llmroute.cli import main
try:
    main()
except SystemExit as ended:
    print(ended.code or 0, file=sys.stderr)
print(*sorted({HEAVY!r} & {{name for name, module in sys.modules.items() if module is not None}}), file=sys.stderr)
"""


def loaded(line: str, *, home: Path, code: int = 0, **settings: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", TELL, *line.split()],
        env=environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    *_, left, found = ended.stderr.decode().splitlines()
    assert int(left) == code, ended.stderr.decode()
    return set(found.split())


# What each command loads where there are a ledger and no config.toml, and its exit code where it fails here.
# httpx reads proxies by the one, and takes cookies by the other.
SENDS = {"httpcore", "httpx", "http.client", "urllib.request"}
KEEPS = {"sqlite3"}
TABLES = {"rich"}
REPORTS = KEEPS | {"sqlite_utils", "click"}  # the one brings the other
LOADS: dict[str, set[str] | tuple[int, set[str]]] = {
    "": set(),
    "--help": set(),
    "--version": set(),
    "gen --help": set(),
    "stream --help": set(),
    "gen hi -m openai/gpt-4o": SENDS | KEEPS,
    "gen hi -m openai/gpt-4o --no-fallback --json": SENDS | KEEPS,
    "gen hi -m openai/gpt-4o --no-fallback --schema a,b": (6, SENDS | KEEPS | {"jsonschema"}),
    "gen hi -m openai/gpt-4o --no-fallback --dry-run": KEEPS | TABLES,
    "gen --batch prompts -m openai/gpt-4o": SENDS | KEEPS | {"asyncio", "pydantic"},
    "gen --batch prompts --lines -m openai/gpt-4o": SENDS | KEEPS | {"asyncio"},
    "stream hi -m openai/gpt-4o": SENDS | KEEPS,
    "health": (4, SENDS | KEEPS | TABLES),
    "models": set(),
    "models --help": set(),
    "models --sort price --capability code": set(),
    "models --available": SENDS,
    "models show gpt-6.1-sol": KEEPS,
    "models pull ollama/nobody": (4, SENDS),
    "models pull builtin/smollm2-135m": set(),
    "models refresh --from nothing.json": (2, {"pydantic"}),
    "costs": KEEPS | TABLES,
    "costs --by hour --csv": KEEPS,
    "costs --help": set(),
    "costs calls": REPORTS | TABLES,
    "costs correct 1 --cost 1": KEEPS,
    "costs export bill.csv": REPORTS,
    "costs export --format otlp --to nowhere": (2, set()),
    "costs reconcile": (3, set()),
    "costs path": set(),
    "costs check": KEEPS,
    "costs backup copy.db": KEEPS,
    "costs restore copy.db": (2, KEEPS),
    "costs move copy.db": (2, set()),
    "costs prune --older-than 90d --yes": KEEPS,
    "costs budget": set(),
    "costs budget set --month 5": {"tomlkit", "tomllib"},
    "batches": KEEPS,
    "batches show none": (2, KEEPS),
    "batches cancel none -y": (2, KEEPS | {"asyncio"}),
    "chains": SENDS | TABLES,
    "chains show FAST_LATENCY": SENDS | TABLES,
    "chains set MINE openai/gpt-4o": {"tomlkit", "tomllib"},
    "chains remove MINE": {"tomlkit", "tomllib", "pydantic"},
    "chains test FAST_LATENCY -y": (4, SENDS | KEEPS),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.mark.parametrize("line", LOADS)
def test_a_command_loads_what_it_needs_and_nothing_else(line: str, server: ModelServer, tmp_path: Path) -> None:
    row = AttemptRow("r", 1, time.time_ns() // 10**6, "openai", "m", streaming=False, status="ok", input_tokens=9)
    with Ledger(tmp_path / "llmroute" / "ledger.db") as ledger:
        ledger.settle(row)
    (tmp_path / "prompts").write_text('{"prompt": "hi"}\n')
    if line == "chains remove MINE":
        assert run("chains", "set", "MINE", "openai/gpt-4o", home=tmp_path).code == 0
    told = LOADS[line]
    code, allowed = told if isinstance(told, tuple) else (0, told)
    assert loaded(line, home=tmp_path, code=code, **server.settings) == allowed


def test_every_command_and_sub_command_says_what_it_loads() -> None:
    for name in SUMMARIES:
        lines = [name, *(f"{name} {sub}" for sub in getattr(called(name), "commands", ()))]
        for known in lines:
            assert any(f"{line} ".startswith(f"{known} ") for line in LOADS), known


def test_costs_without_a_ledger_load_none(tmp_path: Path) -> None:
    assert loaded("costs", home=tmp_path) <= KEEPS | TABLES
    assert not (tmp_path / "llmroute" / "ledger.db").exists()


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


def test_the_library_leaves_the_modules_of_other_packages_to_the_application(tmp_path: Path) -> None:
    program = """
import sys
import llmroute.transport.client
import llmroute.transport.async_client
import httpx
import httpx._main
blocked = [name for name, module in sys.modules.items() if module is None]
print(callable(httpx._main.main), blocked)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), cwd=tmp_path, capture_output=True, check=True
    )
    assert ended.stdout.decode() == "True []\n"
