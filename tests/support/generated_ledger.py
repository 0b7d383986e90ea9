"""A ledger of two years, and a count of it by brute force that shares no line with the program."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.sqlite.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

ATTEMPTS = 12_000
FIRST = datetime(2024, 12, 1, tzinfo=UTC)
LAST = datetime(2026, 12, 1, tzinfo=UTC)
# The changes of the clocks in Berlin: a quarter of all calls are near one of them.
CHANGES = (datetime(2025, 10, 26, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC))
WORKSPACES = (None, "alpha", 'b|e"t\\a, x', "w3")
MODELS = (
    ("openai", "gpt-5.4-mini", 400),
    ("openai", "gpt-4o", 2_500),
    ("mistral", "mistral-small", 100),
    ("anthropic", "claude-sonnet", 3_000_001),
    ("ollama", "qwen3", 0),
    ("openai", "of-unknown-price", None),
)
COUNTED = (
    "cost", "fallback", "unknown_cost_count", "call_count", "failed_count", "rejected_count", "input_tokens",
    "cached_input_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip


class Group(NamedTuple):
    """What a test counted by hand, under the names of COUNTED."""

    sums: Counter[str]

    def as_told(self) -> dict[str, Any]:
        """Return it with the names and units of the program."""
        sums = self.sums
        all_unknown = 0 < sums["call_count"] == sums["unknown_cost_count"]
        return {"cost_usd": None if all_unknown else sums["cost"] / 10**12} | {name: sums[name] for name in COUNTED[2:]}


def generate(path: Path) -> None:
    """Write the ledger: through the real tables and triggers, always the same."""
    dice = random.Random(7)
    rows = []
    for number in range(ATTEMPTS):
        provider, model, rate = dice.choice(MODELS)
        at = FIRST + (LAST - FIRST) * dice.random()
        if number % 4 == 0:
            at = dice.choice(CHANGES) + timedelta(hours=dice.uniform(-30, 30))
        told = dice.random() < 0.9
        tokens = [dice.randrange(5_000) for _ in range(4)] if told else [None] * 4
        row = AttemptRow(
            request_id=f"r{number // 3}",
            attempt=number % 3 + 1,
            started_ms=round(at.timestamp() * 1000),
            provider=provider,
            model=model,
            streaming=False,
            status=dice.choices(("ok", "failed", "partial", "interrupted", "lost"), (90, 6, 2, 1, 1))[0],
            workspace=dice.choice(WORKSPACES),
            task=dice.choice((None, "chat", "analysis")),
            strategy=dice.choice((None, "balanced", "cost_optimized")),
            input_tokens=tokens[0],
            cached_input_tokens=tokens[1],
            output_tokens=tokens[2],
            reasoning_tokens=tokens[3],
            cost_picousd=None if rate is None or dice.random() < 0.01 else rate * dice.randrange(10_000) + number,
            latency_ms=dice.randrange(9_000),
        )
        rows.append(row.values())
    insert = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    with Ledger(path) as ledger:
        ledger.db.execute("PRAGMA synchronous = OFF")
        with ledger.connection.transaction() as db:
            db.executemany(insert, rows)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows as they are in the file."""
    import sqlite3

    db = sqlite3.connect(path)
    try:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM attempts")]
    finally:
        db.close()


def with_wall_clock(rows: list[dict[str, Any]], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the rows with the day and the hour that a clock on the wall showed, and with what each adds to a sum."""
    found = []
    for row in rows:
        wall = datetime.fromtimestamp(row["started_ms"] / 1000, zone)
        offset = wall.strftime("%z")
        day = f"{wall.year}-{wall.month:02}-{wall.day:02}"
        hour = f"{day}T{wall.hour:02}:00{offset[:3]}:{offset[3:]}"
        tier = row["service_tier"]
        tier = "standard" if tier in (None, "default", "standard", "auto") else tier
        found.append({**row, "day": day, "hour": hour, "tier": tier, "figures": _figures(row)})
    return found


def count(rows: list[dict[str, Any]], by: str | None) -> dict[tuple[str | None, ...], Group]:
    """Add up the rows of each group, one by one; all are one group when `by` is None."""
    names = () if by is None else ("provider", "model") if by == "model" else (by,)
    groups: dict[tuple[str | None, ...], list[tuple[int, ...]]] = {}
    for row in rows:
        groups.setdefault(tuple([row[name] for name in names]), []).append(row["figures"])
    return {
        key: Group(Counter(dict(zip(COUNTED, map(sum, zip(*found, strict=True)), strict=True))))
        for key, found in groups.items()
    }


def _figures(row: dict[str, Any]) -> tuple[int, ...]:
    cost = row["cost_picousd"]
    return (
        cost or 0,
        (cost or 0) if row["attempt"] > 1 else 0,
        cost is None,
        1,
        row["status"] not in ("ok", "rejected"),
        row["status"] == "rejected",
        *(row[name] or 0 for name in COUNTED[6:]),
    )
