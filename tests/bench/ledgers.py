"""Ledgers of any size, as years of use leave them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmroute.ledger.sqlite.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 365
MODELS = 8
# Rows are made by SQLite itself, and sums by the ledger's own triggers.
_FILL = """
INSERT INTO attempts (request_id, attempt, status, started_ms, settled_ms, provider, model, streaming,
                      input_tokens, output_tokens, usage_source, price_as_of, cost_picousd, latency_ms, ttft_ms)
WITH RECURSIVE made (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM made WHERE number < :rows - 1)
SELECT printf('%012x%016x', :since + number * :every, number), 1, CASE WHEN number % 50 THEN 'ok' ELSE 'failed' END,
       CAST(:since + number * :every AS INTEGER), CAST(:since + number * :every AS INTEGER) + 900,
       'openai', 'model-' || (number % :models), 0, 700, 300, 'reported', '2026-11-01', 1750000000, 900, 300
FROM made
"""


def fill(path: Path, rows: int, now_ms: int | None = None) -> None:
    """Make a ledger with so many settled attempts, spread evenly over the last year."""
    now_ms = now_ms or time.time_ns() // 10**6
    span_ms = DAYS * 86_400_000
    told = {"rows": rows, "since": now_ms - span_ms, "every": span_ms / rows, "models": MODELS}
    with Ledger(path) as ledger:
        with ledger.transaction() as db:
            db.execute(_FILL, told)
        ledger.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
