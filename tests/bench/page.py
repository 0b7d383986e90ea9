"""The page of `costs --html` of a ledger of two busy years: for a month, a year, all, and one workspace."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench import ledger_generator
from tests.bench.process import REPEATS, Command, run_interleaved
from tests.bench.report import BenchResult
from tests.bench.scale import LLMROUTE, ROWS

ASKED = {
    "a month": ("--period", "month"),
    "a year": ("--since", "365d"),
    "all": ("--period", "all"),
    "all, one workspace": ("--period", "all", "--workspace", "cron"),
}


def measure(rows: int = ROWS, repeats: int = REPEATS) -> BenchResult:
    """Write each page `repeats` times from a ledger of `rows` rows."""
    found = BenchResult()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger_generator.write(folder / "ledger.db", rows, time.time_ns() // 10**6)
        settings = {"LLMROUTE_CONFIG_DIR": name, "LLMROUTE_LEDGER": str(folder / "ledger.db")}
        page = ("costs", "--html", str(folder / "page.html"))
        commands = {what: Command((LLMROUTE, *page, *asked), folder, settings) for what, asked in ASKED.items()}
        usage = run_interleaved(commands, repeats)
    found.figures += [{"name": f"page of {what}, {rows} rows", **one._asdict()} for what, one in usage.items()]
    found.details = "".join(
        f"page of {what}, {rows:,} attempts in two years: {one.wall_s:.2f} s\n" for what, one in usage.items()
    )
    return found
