"""Bars for terminals, and the colours of everything that is shown there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.output.tables import cell, money
from llmroute.cli.output.text_width import cells, cut, left
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.reports import Line

Piece = tuple[str, str]
"""Text and its style, empty for none."""

WIDEST_BAR = 60
BUDGET_BAR = 20
LABEL = "Mon 2026-11-23"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_TIGHT, _SPENT = 0.75, 1.0


def bar(share: float, width: int) -> str:
    """Return a bar of so many cells, to the eighth of a cell; what is more than nothing is seen."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def day_chart(days: Sequence[tuple[date, Line]], width: int) -> list[list[Piece]]:
    """Return a line for each day: its cost and a bar; where nothing cost anything, its calls."""
    by_calls = not any(line.cost_picousd for _, line in days)
    values = [line.call_count if by_calls else line.cost_picousd for _, line in days]
    told = [f"{line.call_count:,}" if by_calls else cost(line) if line.call_count else "-" for _, line in days]
    most, column = max(values, default=0) or 1, max(map(len, told), default=0)
    room = min(WIDEST_BAR, width - len(LABEL) - column - 4)
    lines = []
    for (day, _), text, value in zip(days, told, values, strict=True):
        drawn = bar(value / most, room)
        lines.append(
            [(f"{day:%a %Y-%m-%d}  ", "dim"), (f"{text:>{column}}", ""), (f"  {drawn}" if drawn else "", "cyan")]
        )
    return lines


def budget_chart(found: Sequence[BudgetStatus], width: int) -> list[list[Piece]]:
    """Return a line for each cap: how much of it is spent or reserved.  A name that leaves no room is cut."""
    rows = [(standing, _share(standing)) for standing in found]
    told = [f"  {percent(share):>4} of {money(standing.cap.cap_picousd / PICO_PER_USD)}" for standing, share in rows]
    room = width - BUDGET_BAR - 2 - max(map(len, told), default=0)
    names = [cut(_name(standing), room) for standing in found]
    longest = max(map(cells, names), default=0)
    return [
        [
            (left(name, longest) + "  ", "dim"),
            (f"{bar(share, BUDGET_BAR):<{BUDGET_BAR}}", _colour(share)),
            (text, ""),
        ]
        for name, (_, share), text in zip(names, rows, told, strict=True)
    ]


def _name(standing: BudgetStatus) -> str:
    cap = standing.cap
    period = "in all" if cap.period == "total" else f"this {cap.period}" if cap.period != "day" else "today"
    return f"{period}, {cell(cap.workspace)}" if cap.workspace else period


def _share(standing: BudgetStatus) -> float:
    cap = standing.cap.cap_picousd
    used = standing.spent_picousd + standing.reserved_picousd
    return used / cap if cap else 1.0


def _colour(share: float) -> str:
    return "green" if share < _TIGHT else "yellow" if share < _SPENT else "red"


def percent(share: float) -> str:
    """Return a share in per cent, cut rather than rounded so that 100 is not said before it is reached."""
    return f"{int(share * 100):,}%"


def cost(line: Line) -> str:
    """Return what a line cost; a mark where some of its calls are of unknown cost, words where all are."""
    known = line.known_cost_usd
    if known is None:
        return "unknown"
    return money(known) + ("+?" if line.unknown_cost_count else "")


def painted(lines: Iterable[Sequence[Piece]], width: int) -> str:
    """Return lines with the colours of the user's own palette."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    out = StringIO()
    console = Console(
        file=out, force_terminal=True, color_system="standard", no_color=False, legacy_windows=False, width=width,
        _environ={},
    )  # fmt: skip
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True, highlight=False)
    return out.getvalue()


def unpainted(lines: Iterable[Sequence[Piece]]) -> str:
    """Return the same without a single escape."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
