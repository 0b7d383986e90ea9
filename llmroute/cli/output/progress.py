"""The progress bar on stderr: share, rate, time left, failures and cost, by rich.progress.

with Bar(quiet=quiet) as bar:
    for done in ...:
        bar.show(ProgressState("batch", done, total, failed=failed, cost_usd=spent, budget_usd=budget))
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self

from llmroute.cli.output import status_line
from llmroute.cli.output.charts import percent
from llmroute.cli.output.tables import cell
from llmroute.text.money import money

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress

INTERVAL_S = 0.1
RATE_WINDOW_S = 30.0
"""The rate is an average over this span, not over the complete run."""
_BAR_COLUMNS = 24
_LABEL_COLUMNS = 24
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class ProgressState:
    """The progress of one operation.  `total` is None if unknown; `failed` items are included in `done`."""

    label: str
    done: int
    total: int | None = None
    unit: Literal["items", "bytes"] = "items"
    failed: int = 0
    cost_usd: float | None = None
    budget_usd: float | None = None
    more: str = ""
    """Text in place of the time left."""


class Bar:
    """Draws a progress bar on a terminal and removes it at the end of its `with` block."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = status_line.wanted(quiet=quiet)
        self._clock = clock
        self._progress: Progress | None = None
        self._drawn_s = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._wanted:
            status_line.clear()

    def show(self, state: ProgressState) -> None:
        """Show the state: at most ten times a second, so callers may report every item."""
        if not self._wanted or self._clock() - self._drawn_s < INTERVAL_S:
            return
        self._drawn_s = self._clock()
        self._progress = self._progress or new_progress(self._clock)
        advance(self._progress, state)
        status_line.draw(self._progress)


def new_progress(clock: Callable[[], float]) -> Progress:
    """Return an empty display: label, bar, percent and facts in one line."""
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", max_width=_LABEL_COLUMNS),
        ),
        BarColumn(
            _BAR_COLUMNS,
            style="bright_black",
            complete_style="cyan",
            finished_style="cyan",
            pulse_style="bright_black",
        ),
        TextColumn("{task.fields[facts]}", markup=False, style="none"),
        auto_refresh=False,
        get_time=clock,
        speed_estimate_period=RATE_WINDOW_S,
    )


def advance(progress: Progress, state: ProgressState) -> None:
    """Apply the state to the display; the rate starts anew with another label or total."""
    label = cell(state.label)
    task = progress.tasks[0] if progress.tasks else None
    if task is None or task.description != label or state.done < task.completed:
        if task is not None:
            progress.remove_task(task.id)
        progress.add_task(label, total=state.total or None, completed=state.done, facts="", done_before=state.done)
        task = progress.tasks[0]
    progress.update(task.id, total=state.total or None, completed=state.done)
    # rich knows a speed only after two samples within its window; slower work gets its average.
    average = (state.done - task.fields["done_before"]) / task.elapsed if task.elapsed and task.elapsed >= 1 else None
    progress.update(task.id, facts=facts(state, task.speed or average))


def facts(state: ProgressState, rate: float | None) -> str:
    """Return percent, count, failures, rate, cost and time left; `rate` is per second, None if unknown."""
    parts = [_count(state)]
    if state.failed:
        parts.append(f"{state.failed:,} failed")
    if rate:
        parts.append(f"{_size(rate)}/s" if state.unit == "bytes" else _rate(rate))
    if state.cost_usd is not None:
        budget = "" if state.budget_usd is None else f" of {money(state.budget_usd)}"
        parts.append(money(state.cost_usd) + budget)
    if state.more:
        parts.append(state.more)
    elif rate and state.total:
        parts.append(_time_left(max(state.total - state.done, 0) / rate))
    share = f"{percent(min(state.done / state.total, 1.0)):>4}  " if state.total else ""
    return share + " · ".join(parts)


def _count(state: ProgressState) -> str:
    if state.unit == "bytes":
        return _size(state.done) + (f" of {_size(state.total)}" if state.total else "")
    return f"{state.done:,}" + (f" of {state.total:,}" if state.total else "")


def _size(count: float) -> str:
    from rich.filesize import decimal

    return decimal(round(count))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * _MINUTE_S:.0f}/min"  # noqa: PLR2004 (two figures)


def _time_left(seconds: float) -> str:
    if seconds >= timedelta(days=99).total_seconds():
        return "months left"
    return str(timedelta(seconds=round(seconds))).removeprefix("0:") + " left"
