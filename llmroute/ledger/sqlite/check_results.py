"""Verdicts of the caller's checks: how many answers of a model to a task passed, of how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.statistics.decayed import CheckCounts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from llmroute.ledger.stats import CheckResult


def read(db: sqlite3.Connection, task: str, now_ms: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return passed and checked answers to a task by (provider, model), faded to now."""
    rows = db.execute("SELECT provider, model, passed, checked, at_ms FROM check_results WHERE task = ?", (task,))
    return {(provider, model): CheckCounts(*counts).decayed(now_ms) for provider, model, *counts in rows}


def learn(db: sqlite3.Connection, results: Iterable[CheckResult]) -> None:
    """Take in verdicts, in their order."""
    for result in results:
        key = (result.provider, result.model, result.task)
        row = db.execute(
            "SELECT passed, checked, at_ms FROM check_results WHERE provider = ? AND model = ? AND task = ?", key
        ).fetchone()
        counts = CheckCounts(*row) if row else CheckCounts(0.0, 0.0, result.at_ms)
        joined = counts.joined(result.at_ms, passed=result.passed)
        db.execute("INSERT OR REPLACE INTO check_results VALUES (?, ?, ?, ?, ?, ?)", (*key, *joined))
