"""Generate ledgers of any size, as two busy years would leave them, with bulk inserts.

The rollups that triggers update for each row are computed for all rows at once; a test proves that they are equal.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from llmroute.ledger.attempt_row import COLUMNS, AttemptRow
from llmroute.ledger.processes import this_process
from llmroute.ledger.sqlite.schema.backfill import fill, forget
from llmroute.ledger.sqlite.schema.rollups import COUNTERS, ROLLUP_KEY, ROLLUP_OF_ROW
from llmroute.ledger.sqlite.store import Ledger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SPAN_MS = 730 * 86_400_000
CHUNK = 100_000

# Values and their weights.
MODELS: dict[tuple[str, str, int | None], int] = {
    ("openai", "gpt-5.4-mini", 400_000): 24,
    ("openai", "gpt-5.4", 2_500_000): 14,
    ("openai", "gpt-4o-mini", 150_000): 10,
    ("anthropic", "claude-haiku-4-5", 1_000_000): 12,
    ("anthropic", "claude-sonnet-4-6", 3_000_000): 9,
    ("mistral", "mistral-small-latest", 100_000): 8,
    ("mistral", "mistral-large-latest", 2_000_000): 5,
    ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", 880_000): 5,
    ("together", "of-unknown-price", None): 4,
    ("ollama", "qwen3:8b", 0): 5,
    ("ollama", "llama3.2:3b", 0): 3,
    ("builtin", "qwen3-0.6b", 0): 1,
}
WORKSPACES = {None: 40, "site": 25, "research": 15, "support": 12, "cron": 8}
TASKS = {None: 60, "chat": 15, "extraction": 10, "code_generation": 8, "translation": 7}
STRATEGIES = {"balanced": 75, "cost_optimized": 15, "quality_optimized": 10}
STATUSES = {"ok": 93, "failed": 5, "partial": 1, "interrupted": 1}
# One call in twenty is a fallback of the previous request.
FALLBACK_EVERY = 20


def write(path: Path, attempts: int, now_ms: int) -> None:
    """Write a ledger with `attempts` settled attempts, spread evenly over the two years before `now_ms`."""
    with Ledger(path) as ledger:
        db = ledger.db
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -262144")
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        insert = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        for first in range(0, attempts, CHUNK):
            with ledger.connection.transaction():
                db.executemany(insert, (row.values() for row in rows(first, attempts, now_ms)))
        with ledger.connection.transaction():
            compute_rollups(db)
        fill(ledger.connection)
        for _, sql in triggers:
            db.execute(sql)


def rows(first: int, attempts: int, now_ms: int, seed: int = 0) -> Iterator[AttemptRow]:
    """Generate the chunk of `attempts` attempts that starts at `first`; deterministic for a seed."""
    count = min(CHUNK, attempts - first)
    chance = random.Random(first + seed)
    process = this_process()

    def drawn(weights: Mapping[Any, int]) -> list[Any]:
        return chance.choices(list(weights), list(weights.values()), k=count)

    labels = zip(*(drawn(weights) for weights in (MODELS, WORKSPACES, TASKS, STRATEGIES, STATUSES)), strict=True)
    for number, (model, workspace, task, strategy, status) in enumerate(labels, first):
        is_fallback = number % FALLBACK_EVERY == FALLBACK_EVERY - 1
        request = number - is_fallback
        started_ms = now_ms - SPAN_MS + SPAN_MS * number // attempts
        provider, name, price = model
        dice = int(chance.random() * 2_000)
        yield AttemptRow(
            request_id=f"{now_ms - SPAN_MS + SPAN_MS * request // attempts:012x}{request:016x}",
            attempt=1 + is_fallback,
            started_ms=started_ms,
            settled_ms=started_ms + dice,
            provider=provider,
            model=name,
            streaming=False,
            status=status,
            error=None if status == "ok" else "transient",
            http_status=200 if status == "ok" else 503,
            served_model=name,
            provider_request_id=f"req_{number:024x}",
            strategy=strategy,
            task=task,
            workspace=workspace,
            input_tokens=dice,
            cached_input_tokens=dice // 4,
            output_tokens=dice // 3,
            reasoning_tokens=dice // 9,
            usage_source="reported",
            price=None if price is None else f'{{"input": {price}, "output": {4 * price}}}',
            price_as_of="2026-11-01",
            reserved_picousd=None if price is None else 20_000 * price,
            cost_picousd=None if price is None else price * (dice + 4 * (dice // 3)),
            latency_ms=dice,
            finish_reason="stop" if status == "ok" else None,
            pid=process.pid,
            host=process.host,
            process=process.mark,
            deadline_ms=started_ms + 360_000,
        )


def compute_rollups(db: sqlite3.Connection) -> None:
    """Compute the rollups of all rows, as the triggers do for each; the coarse rollups are deleted."""
    sums = ", ".join(f"sum({name})" for name in COUNTERS.split(", "))
    db.execute(f"INSERT INTO rollups SELECT {ROLLUP_KEY}, {sums} FROM ({ROLLUP_OF_ROW}) GROUP BY {ROLLUP_KEY}")
    forget(db)
