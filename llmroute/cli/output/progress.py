"""How far something is, in one line on stderr: a bar, the rate, the time left; also what failed and what it cost.

with Bar(quiet=quiet) as bar:
    for done in ...:
        bar.show(ProgressState("batch", done, total, failed=failed, cost_usd=spent, budget_usd=budget))
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from llmroute.cli.output import status_line
from llmroute.cli.output.charts import bar, percent
from llmroute.cli.output.tables import money
from llmroute.cli.output.terminal import harmless, width
from llmroute.cli.output.text_width import cells, cut

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

EVERY_S = 0.1
WINDOW_S = 30.0
"""The rate is that of the last seconds, not of the whole run."""
_WIDEST_BAR, _NARROWEST_BAR = 24, 6
_WIDEST_LABEL = 24
_MINUTE_S, _HOUR_S, _LONGEST_S = 60, 3600, 360_000


@dataclass(frozen=True, slots=True)
class ProgressState:
    """How far it is.  `total` is None where nobody knows it; what failed is among what is done."""

    label: str
    done: int
    total: int | None = None
    unit: Literal["items", "bytes"] = "items"
    failed: int = 0
    cost_usd: float | None = None
    budget_usd: float | None = None


class Bar:
    """Draws where somebody looks, and takes itself away at the end of its `with` block."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = status_line.wanted(quiet=quiet)
        self._clock = clock
        self._past: deque[tuple[float, int]] = deque()
        self._drawn_s = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._wanted:
            status_line.clear()

    def show(self, progress: ProgressState) -> None:
        """Show how far it is: ten times a second at most, so it may be told of each item."""
        if not self._wanted:
            return
        now = self._clock()
        if now - self._drawn_s < EVERY_S:
            return
        self._drawn_s = now
        if self._past and progress.done < self._past[-1][1]:
            self._past.clear()  # something else has begun
        self._past.append((now, progress.done))
        while len(self._past) > 2 and now - self._past[1][0] >= WINDOW_S:  # noqa: PLR2004 (a rate needs two)
            self._past.popleft()
        since, before = self._past[0]
        rate = (progress.done - before) / (now - since) if now - since >= 1 else None
        status_line.draw(line(progress, rate, width(sys.stderr) - 1))


def line(progress: ProgressState, rate: float | None, columns: int) -> str:
    """Return the line, at most `columns` wide.  `rate` is what is done in a second, None while nobody knows."""
    label = cut(harmless(progress.label).partition("\n")[0], _WIDEST_LABEL)
    told = " · ".join(_facts(progress, rate))
    if not progress.total:
        return cut(f"{label}  {told}", columns)
    share = min(progress.done / progress.total, 1.0)
    room = min(columns - cells(label) - cells(told) - len("   100%  "), _WIDEST_BAR)
    drawn = f"{bar(share, room):<{room}} " if room >= _NARROWEST_BAR else ""
    return cut(f"{label}  {drawn}{percent(share):>4}  {told}", columns)


def _facts(progress: ProgressState, rate: float | None) -> list[str]:
    facts = [_count(progress)]
    if progress.failed:
        facts.append(f"{progress.failed:,} failed")
    if rate:
        facts.append(f"{_size(rate)}/s" if progress.unit == "bytes" else _rate(rate))
    if progress.cost_usd is not None:
        budget = "" if progress.budget_usd is None else f" of {money(progress.budget_usd)}"
        facts.append(money(progress.cost_usd) + budget)
    if rate and progress.total:
        facts.append(f"{_time(max(progress.total - progress.done, 0) / rate)} left")
    return facts


def _count(progress: ProgressState) -> str:
    if progress.unit == "bytes":
        return _size(progress.done) + (f" of {_size(progress.total)}" if progress.total else "")
    return f"{progress.done:,}" + (f" of {progress.total:,}" if progress.total else "")


def _size(count: float) -> str:
    from rich.filesize import decimal

    return decimal(round(count))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * _MINUTE_S:.0f}/min"  # noqa: PLR2004 (two figures)


def _time(seconds: float) -> str:
    if seconds >= _LONGEST_S:
        return "days"
    whole = round(seconds)
    minutes = f"{whole % _HOUR_S // _MINUTE_S:02}" if whole >= _HOUR_S else f"{whole // _MINUTE_S}"
    return (f"{whole // _HOUR_S}:" if whole >= _HOUR_S else "") + f"{minutes}:{whole % _MINUTE_S:02}"
