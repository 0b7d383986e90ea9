"""One call with a large ledger and a configuration, compared with one call in a new home."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import ledger_generator
from tests.bench.process import LLMROUTE, REPEATS, Command, run_interleaved
from tests.bench.report import BenchResult, Measurement
from tests.bench.server import serving

ROWS = 1_000_000
SETTINGS = """
strategy = "balanced"
workspace = "bench"
[timeouts]
total_s = 120
[budgets]
month = 1000
"""


def measure(repeats: int = REPEATS, rows: int = ROWS) -> BenchResult:
    """Run both `repeats` times; the large ledger has `rows` attempts."""
    found = BenchResult()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        homes = {"settled gen": folder / "settled", "gen": folder / "new"}
        for home in homes.values():
            home.mkdir()
        settled = homes["settled gen"]
        (settled / "config.toml").write_text(SETTINGS)
        (settled / ".env").write_text("ANTHROPIC_API_KEY=sk-ant-bench-0123456789\n")
        ledger_generator.write(settled / "ledger.db", rows, time.time_ns() // 10**6)
        call = (LLMROUTE, "gen", "hi", "-m", "openai/gpt-4o")
        usage = run_interleaved(
            {name: Command(call, home, {**settings, "LLMROUTE_CONFIG_DIR": str(home)}) for name, home in homes.items()},
            repeats,
        )
    found.add(usage)
    old, new = usage["settled gen"], usage["gen"]
    what = f"gen, wall, with config.toml, .env and {rows:,} rows"
    found.measurements.append(
        Measurement(what, "gen in a new home", 1.15, old.wall_s / new.wall_s, note=old.compare_wall(new))
    )
    return found
