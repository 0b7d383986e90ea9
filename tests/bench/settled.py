"""One call at the home of somebody who has used it for years, as a whole process, beside one at a new home."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench import ledgers
from tests.bench.process import LLMROUTE, REPEATS, Command, in_turns
from tests.bench.promise import Measured, Promise
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


def measure(repeats: int = REPEATS, rows: int = ROWS) -> Measured:
    """Run both so many times, in turns; the ledger of years has so many rows."""
    found = Measured()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = stack.enter_context(serving())
        homes = {"settled gen": folder / "settled", "gen": folder / "new"}
        for home in homes.values():
            home.mkdir()
        settled = homes["settled gen"]
        (settled / "config.toml").write_text(SETTINGS)
        (settled / ".env").write_text("ANTHROPIC_API_KEY=sk-ant-bench-0123456789\n")
        ledgers.fill(settled / "ledger.db", rows)
        call = (LLMROUTE, "gen", "hi", "-m", "openai/gpt-4o")
        took = in_turns(
            {name: Command(call, home, {**settings, "LLMROUTE_CONFIG_DIR": str(home)}) for name, home in homes.items()},
            repeats,
        )
    found.add(took)
    old, new = took["settled gen"], took["gen"]
    what = f"gen, wall, with config.toml, .env and {rows:,} rows"
    found.promises.append(Promise(what, "gen bare", 1.15, old.wall_s / new.wall_s, note=old.wall_beside(new)))
    return found
