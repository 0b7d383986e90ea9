"""Tables fit a terminal of 60 columns; only names, which can be copied, may be longer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from llmroute.cli.output.tables import fitted
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from tests.support.pseudo_terminal import run_on_terminal, without_escapes

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = 60
MODEL = "meta-llama/a-model-with-a-name-that-is-longer-than-a-narrow-terminal-123B"
CONFIG = f"""
[budgets]
month = 1
total = 123456
[budgets.workspaces.nightly-with-a-longer-name]
day = 0.000000001
[chains]
LONG = ["together/{MODEL}", "openai/gpt-5.4-mini"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "llmroute"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    with Ledger(folder / "ledger.db") as ledger:
        for number, name in enumerate((MODEL, "m")):
            row = AttemptRow(f"r{number}", 1, time.time_ns() // 10**6, "together", name, streaming=False)
            row.status, row.error, row.http_status = "failed", "rate_limited", 429
            row.cost_picousd, row.cost_basis, row.reserved_picousd = 2_300_000_000, "estimated", 720_000_000_000
            row.input_tokens, row.output_tokens, row.latency_ms = 1_234_567, 8_901, 123_456
            row.workspace, row.prompt_cut = "nightly-with-a-longer-name", "truncated"
            ledger.settle(row)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [("chains",), ("costs",), ("costs", "calls"), ("costs", "budget"), ("costs", "--by", "workspace")],
    ids=" ".join,
)
@pytest.mark.parametrize("columns", [200, COLUMNS])
def test_no_line_is_wider_than_the_columns(arguments: tuple[str, ...], columns: int, home: Path) -> None:
    seen = run_on_terminal(*arguments, home=home, columns=columns, COLUMNS=str(COLUMNS))
    assert seen.code == 0, seen.text
    lines = [line.strip() for line in without_escapes(seen.text).splitlines()]
    assert [line for line in lines if cell_len(line) > COLUMNS and not line.endswith(MODEL)] == []


def test_each_cell_of_a_row_that_does_not_fit_is_below_its_name(home: Path) -> None:
    seen = run_on_terminal("costs", "calls", home=home, columns=COLUMNS)
    lines = seen.text.splitlines()
    when, status, cost, rest = lines[lines.index("together/m") + 1 :]
    assert when.startswith("  when ")
    assert status == "  status failed rate_limited 429, prompt cut"
    assert cost == "  cost ~$0.0023 (at most $0.7200)  in 1,234,567  out 8,901"
    assert rest == "  time 123.5 s  id 2"


@pytest.mark.parametrize("columns", [30, 60, 100])
def test_bars_are_no_longer_than_columns_allow(columns: int, home: Path) -> None:
    seen = run_on_terminal("costs", home=home, columns=200, COLUMNS=str(columns))
    bars = [line for line in without_escapes(seen.text).splitlines() if "█" in line]
    assert bars
    assert max(map(cell_len, bars)) <= columns


@pytest.mark.parametrize("width", range(24, 60))
def test_a_name_that_does_not_fit_beside_its_figures_is_above_them(width: int) -> None:
    name, figures = "openai/gpt-4o", ("$0.0002", "5", "0", "35")
    lines = fitted(("model", "cost", "calls", "failed", "in"), [(name, *figures)], 0, width, (1, 2, 3, 4)).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert {name, *figures} <= {*" ".join(lines).split()}
