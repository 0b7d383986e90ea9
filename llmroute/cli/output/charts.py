"""Bar charts of costs and budgets, by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.output.tables import cell
from llmroute.text.money import money
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from rich.bar import Bar
    from rich.table import Table

    from llmroute.ledger.budgets import BudgetStatus
    from llmroute.ledger.reports import Line

WIDEST_BAR = 60
WIDEST_BUDGET_BAR = 20
LABEL = "Mon 2026-11-23"
_TIGHT, _SPENT = 0.75, 1.0


def bar(share: float, width: int, color: str) -> Bar:
    """Return a bar of `width` cells in steps of an eighth of a cell; any share above zero is visible."""
    from rich.bar import Bar

    steps = width * 8
    return Bar(steps, 0, max(round(min(share, 1.0) * steps), 1 if share > 0 else 0), width=width, color=color)


def day_chart(days: Sequence[tuple[date, Line]], width: int) -> Table:
    """Return a bar chart of the cost per day, or of the calls per day if no call had a cost."""
    from rich.table import Table

    by_calls = not any(line.cost_picousd for _, line in days)
    values = [line.call_count if by_calls else line.cost_picousd for _, line in days]
    labels = [f"{line.call_count:,}" if by_calls else cost(line) if line.call_count else "-" for _, line in days]
    largest = max(values, default=0) or 1
    room = min(WIDEST_BAR, width - len(LABEL) - max(map(len, labels), default=0) - 4)
    chart = Table.grid("", "", "", padding=(0, 2))
    chart.columns[0].style = "dim"
    chart.columns[1].justify = "right"
    for (day, _), label, value in zip(days, labels, values, strict=True):
        chart.add_row(f"{day:%a %Y-%m-%d}", label, bar(value / largest, max(room, 1), "cyan"))
    return chart


def budget_chart(found: Sequence[BudgetStatus], width: int) -> Table:
    """Return a bar for each cap: the share that is spent or reserved.  A name that does not fit is cut."""
    from rich.table import Table
    from rich.text import Text

    shares = [budget_share(status) for status in found]
    labels = [
        f"{percent(share):>4} of {money(status.cap.cap_picousd / PICO_PER_USD)}"
        for status, share in zip(found, shares, strict=True)
    ]
    chart = Table.grid(padding=(0, 2))
    beside = max(map(len, labels), default=0) + 4
    bar_width = max(min(WIDEST_BUDGET_BAR, (width - beside) // 2), 1)
    room = width - bar_width - beside
    chart.add_column(style="dim", no_wrap=True, overflow="ellipsis", max_width=max(room, 1))
    chart.add_column()
    chart.add_column(no_wrap=True)
    for status, share, label in zip(found, shares, labels, strict=True):
        chart.add_row(Text(budget_name(status)), bar(share, bar_width, _color(share)), label)
    return chart


def budget_name(status: BudgetStatus) -> str:
    """Return the window of a cap and its workspace."""
    cap = status.cap
    period = "in all" if cap.period == "total" else f"this {cap.period}" if cap.period != "day" else "today"
    return f"{period}, {cell(cap.workspace)}" if cap.workspace else period


def budget_share(status: BudgetStatus) -> float:
    """Return the share of a cap that is spent or reserved; a cap of 0 is spent."""
    cap = status.cap.cap_picousd
    used = status.spent_picousd + status.reserved_picousd
    return used / cap if cap else 1.0


def _color(share: float) -> str:
    return "green" if share < _TIGHT else "yellow" if share < _SPENT else "red"


def percent(share: float) -> str:
    """Return a share in percent, rounded down so that 100% means complete."""
    return f"{int(share * 100):,}%"


def cost(line: Line) -> str:
    """Return the cost of a line: `+?` marks calls of unknown cost, `unknown` means that no cost is known."""
    known = line.known_cost_usd
    return "unknown" if known is None else sum_of(known, is_partial=bool(line.unknown_cost_count))


def sum_of(usd: float, *, is_partial: bool) -> str:
    """Return a sum of USD, with `+?` where it lacks calls of unknown cost."""
    return f"{'-' if usd < 0 else ''}{money(abs(usd))}{'+?' if is_partial else ''}"
