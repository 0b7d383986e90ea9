"""Ledgers whose pages are tested: none, one call, a year with hostile names."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.sqlite.store import Ledger
from llmroute.planning.usage_cost import price_as_json
from llmroute.types import Price

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 86_400_000
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}\x1b[31m\u202e"
MODELS = (
    ("openai", "gpt-5.4-mini", 400),
    ("anthropic", "claude-sonnet-4-5", 3_000),
    ("together", HOSTILE, 100),
    ("openai", "of-unknown-price", None),
)
WORKSPACES = (None, "nightly", "</title><img src=//example.com/x onerror=alert(2)>")
CONFIG = """
[budgets]
month = 0.01
total = 1000
[budgets.workspaces.nightly]
day = 5
"""


def settled(ledger: Ledger, number: int, at_ms: int, rng: random.Random) -> None:
    provider, model, rate = MODELS[number % len(MODELS)]
    tokens = rng.randint(100, 9_000)
    row = AttemptRow(f"r{number}", 1 + (number % 9 == 0), at_ms, provider, model, streaming=False)
    row.status, row.error = ("failed", "rate_limited") if number % 11 == 5 else ("ok", None)
    row.workspace, row.task, row.strategy = WORKSPACES[number % 3], ("code", None)[number % 2], "balanced"
    row.input_tokens, row.cached_input_tokens, row.output_tokens = tokens, tokens // 3, tokens // 5
    if rate is not None:
        row.cost_picousd = tokens * rate * 1_000
        row.price = price_as_json(Price(rate * 1_000, rate * 5_000, rate * 100))
        if number % 17 == 3:
            row.cost_basis = "at_most"
        elif number % 17 == 7:
            row.cost_basis, row.usage_source, row.reserved_picousd = "estimated", "estimated", row.cost_picousd * 9
    row.latency_ms = rng.randint(200, 90_000)
    row.service_tier = "batch" if number % 13 == 0 else None
    ledger.settle(row)


def fill(home: Path, calls: int, *, days: int = 364) -> None:
    """Write a ledger with so many calls over the last days; none is made for 0 calls."""
    folder = home / "llmroute"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(CONFIG)
    if not calls:
        return
    rng, now_ms = random.Random(7), time.time_ns() // 10**6
    with Ledger(folder / "ledger.db") as ledger:
        for number in range(calls):
            settled(ledger, number, now_ms - (rng.randint(0, days * DAY_MS) if number else 0), rng)
