"""Rows of the page: names, formatted figures, and the exact values to sort by."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.cli.output.charts import budget_name, budget_share, cost, percent
from llmroute.cli.output.costs.attempts import attempt_cost
from llmroute.cli.output.costs.formats import exact
from llmroute.cli.output.tables import cell
from llmroute.ledger.periods import utc_time
from llmroute.ledger.reports import COUNTERS, Line, total
from llmroute.text.money import money
from llmroute.text.plural import many
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from llmroute.ledger.budgets import BudgetStatus

# Further rows are summed in one, so that the page stays small.
MOST_ROWS = 100
_LONGEST_NAME = 60
_MOST_NAME_BYTES = 180
NONE = "(none)"
# Before the days of the chart, or after today, of calls made while the clock was ahead.
OTHER_DAYS = "(other days)"
_BAR_STEP = 10


class Table(NamedTuple):
    """A table of groups of calls; `cut` is a note on summed rows."""

    id: str
    title: str
    by: str
    rows: list[dict[str, Any]]
    cut: str | None


def group_table(by: str, lines: Sequence[Line]) -> Table:
    """Return the table of a dimension, in the order of `lines`."""
    by_clock = by in ("day", "hour")
    hidden: Sequence[Line] = ()
    if len(lines) > MOST_ROWS:
        hidden, lines = (lines[:-MOST_ROWS], lines[-MOST_ROWS:]) if by_clock else (lines[MOST_ROWS:], lines[:MOST_ROWS])
    highest = max((line.cost_picousd for line in lines), default=0) or 1
    rows = [_row("/".join(line.key.values()), line, highest) for line in lines]
    cut = None
    if hidden:
        name = f"({len(hidden):,} {'earlier' if by_clock else 'others'})"
        rest = _row(name, total(hidden), highest)
        rows = [rest, *rows] if by_clock else [*rows, rest]
        cut = f"The row {name} is the sum of the rows that are not shown."
    return Table(by, f"By {by}", by, rows, cut)


def _row(name: str, line: Line, highest_picousd: int) -> dict[str, Any]:
    return {
        "name": shortened(name) or NONE,
        "line": line,
        "cost": cost(line),
        "usd": "" if line.known_cost_usd is None else exact(line.known_cost_usd),
        "percent": min(round(100 * line.cost_picousd / highest_picousd, 1), 100),
        "calls": f"{line.call_count:,}",
        "failed": f"{line.failed_count:,}",
        "rejected": f"{line.rejected_count:,}",
        "tokens_in": f"{line.input_tokens:,}",
        "tokens_out": f"{line.output_tokens:,}",
    }


def shortened(name: str) -> str:
    """Return an untrusted name on one line, cut where it is long on the page or in its HTML, whose size is bounded."""
    text = cell(name)
    shown = text[: _LONGEST_NAME if len(text) <= _LONGEST_NAME else _LONGEST_NAME - 1]
    while len(escape(shown).encode("utf-8", "replace")) > _MOST_NAME_BYTES:
        shown = shown[:-1]
    return shown if shown == text else shown + "…"


def day_chart(days: Sequence[tuple[date, Line]], whole: Line) -> dict[str, Any]:
    """Return the bars of the cost per day, or of the calls per day if no call had a cost, and their table.

    The first row is what `whole`, the sum of the span, has beyond these days.
    """
    by_calls = not any(line.cost_picousd for _, line in days)
    values = [line.call_count if by_calls else line.cost_picousd for _, line in days]
    highest = max(values, default=0)
    top = _round_above(highest)
    rows = [_row(day.isoformat(), line, highest or 1) for day, line in days]
    shown = total(line for _, line in days)
    others = Line({}, *(getattr(whole, name) - getattr(shown, name) for name in COUNTERS))
    labels = [f"{row['name']}: {many(row['line'].call_count, 'call') if by_calls else row['cost']}" for row in rows]
    heights = [round(100 * value / top, 2) for value in values]
    bars = [
        {"x": at * _BAR_STEP + 1, "y": round(100 - height, 2), "height": height, "label": label}
        for at, (height, label) in enumerate(zip(heights, labels, strict=True))
    ]
    return {
        "title": "Calls per day" if by_calls else "Cost per day",
        "highest": labels[values.index(highest)] if labels else "",
        "ticks": [
            {"y": y, "text": f"{part:,.0f}" if by_calls else f"${exact(part / PICO_PER_USD)}"}
            for y, part in ((0, top), (50, top / 2))
        ],
        "width": max(len(bars), 1) * _BAR_STEP,
        "bars": bars if highest else [],
        "first": days[0][0].isoformat() if days else "",
        "last": days[-1][0].isoformat() if days else "",
        "rows": [_row(OTHER_DAYS, others, highest or 1), *rows] if others.call_count > 0 else rows,
    }


def _round_above(value: int) -> int:
    """Return the next number of 2, 4, 6, 8 or 10 times a power of ten, whose half has one digit too."""
    power = int(f"1{'0' * (len(str(value)) - 1)}")
    return next(part * power for part in (2, 4, 6, 8, 10) if part * power >= value)


def budget_row(status: BudgetStatus, warn_at: float) -> dict[str, Any]:
    """Return the row of a cap."""
    cap = status.cap
    figures = {
        "cap": cap.cap_picousd,
        "spent": status.spent_picousd,
        "reserved": status.reserved_picousd,
        "left": max(status.left_picousd, 0),
    }
    over = f" (over by {money(status.over_picousd / PICO_PER_USD)})" if status.over_picousd else ""
    share = budget_share(status)
    row: dict[str, Any] = {name: money(picousd / PICO_PER_USD) for name, picousd in figures.items()}
    return {
        **row,
        **{f"{name}_usd": exact(picousd / PICO_PER_USD) for name, picousd in figures.items()},
        "left": row["left"] + over,
        "name": budget_name(status),
        "near": status.is_near(warn_at),
        "percent": min(round(share * 100, 1), 100),
        "percent_text": percent(status.spent_picousd / cap.cap_picousd) if cap.cap_picousd else "100%",
        "resets": "never" if cap.end_ms is None else _minute(cap.end_ms),
    }


def attempt_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a single attempt of the ledger."""
    picousd, latency_ms = row["cost_picousd"], row["latency_ms"]
    return {
        "id": row["id"],
        "at_ms": row["started_ms"],
        "when": _minute(row["started_ms"]),
        "model": shortened(f"{row['provider']}/{row['model']}"),
        "status": shortened(" ".join(str(row[name]) for name in ("status", "error") if row[name] is not None)),
        "cost": attempt_cost(row),
        "usd": "" if picousd is None else exact(picousd / PICO_PER_USD),
        "time": "" if latency_ms is None else f"{latency_ms / 1000:.1f}\N{NO-BREAK SPACE}s",
        "latency_ms": "" if latency_ms is None else latency_ms,
    }


def _minute(at_ms: int) -> str:
    return f"{utc_time(at_ms).astimezone():%Y-%m-%d %H:%M}"
