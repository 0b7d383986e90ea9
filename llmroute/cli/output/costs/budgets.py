"""Budgets and what is left of them, as JSON and text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmroute.cli.output.tables import cell, columns, fitted
from llmroute.text.money import money
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.config import Limit
    from llmroute.ledger.budgets import BudgetStatus, Cap

_PER = {"day": "a day", "week": "a week", "month": "a month", "total": "in total"}


def cap_as_text(cap: Cap | Limit) -> str:
    """Return the amount of a cap, its period and its workspace."""
    scope = f" in {cell(cap.workspace)}" if cap.workspace else ""
    return f"{money(cap.cap_picousd / PICO_PER_USD)} {_PER[cap.period]}{scope}"


def budgets_as_json(found: Sequence[BudgetStatus], warn_at: float) -> list[dict[str, Any]]:
    """Return the documented objects of caps in their current windows."""
    return [_as_json(status, warn_at) for status in found]


def _as_json(status: BudgetStatus, warn_at: float) -> dict[str, Any]:
    cap = status.cap
    return {
        "period": cap.period,
        "workspace": cap.workspace or None,
        "cap_usd": cap.cap_picousd / PICO_PER_USD,
        "spent_usd": status.spent_picousd / PICO_PER_USD,
        "reserved_usd": status.reserved_picousd / PICO_PER_USD,
        "left_usd": max(status.left_picousd, 0) / PICO_PER_USD,
        "over_usd": status.over_picousd / PICO_PER_USD,
        "warning": status.is_near(warn_at),
        "resets": None if cap.end_ms is None else _local(cap.end_ms).isoformat(),
    }


def budgets_as_text(found: Sequence[BudgetStatus], width: int | None, warn_at: float) -> str:
    """Return a table of caps, for a terminal of `width` columns if not None."""
    rows = [
        [
            cell(status.cap.workspace) or "all",
            status.cap.period,
            *(
                money(picousd / PICO_PER_USD)
                for picousd in (status.cap.cap_picousd, status.spent_picousd, status.reserved_picousd)
            ),
            _left(status),
            "never" if status.cap.end_ms is None else f"{_local(status.cap.end_ms):%Y-%m-%d %H:%M}",
            "warning" if status.is_near(warn_at) else "",
        ]
        for status in found
    ]
    head = ("workspace", "per", "cap", "spent", "reserved", "left", "starts anew", "")
    numbers = (2, 3, 4, 5)
    return columns(head, rows, numbers) if width is None else fitted(head, rows, 0, width, numbers)


def _left(status: BudgetStatus) -> str:
    left = money(max(status.left_picousd, 0) / PICO_PER_USD)
    return f"{left} (over by {money(status.over_picousd / PICO_PER_USD)})" if status.over_picousd else left


def _local(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
