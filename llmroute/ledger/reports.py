"""Totals of the ledger, read from the rollups: a report costs what its period is long."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlite_utils import Database

from llmroute.ledger import coarse
from llmroute.ledger.sums import OF_ROW
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from llmroute.ledger.store import Ledger

Key = TypeVar("Key")

QUARTER_MS = 900_000
DIMENSIONS: Final = ("model", "provider", "day", "hour", "workspace", "task", "strategy", "status", "execution")
# What rows that were pruned belonged to is known no more.
PRUNED: Final = "(pruned)"
_CLOCK: Final = ("day", "hour")

# In the order of COUNTERS.
_SUMS = """
    sum(cost_picousd) AS cost_picousd, sum(fallback_cost_picousd) AS fallback_cost_picousd,
    sum(call_count) AS call_count, sum(unknown_cost_count) AS unknown_cost_count,
    sum(iif(status = 'ok', 0, call_count)) AS failed_count, sum(input_tokens) AS input_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(latency_ms) AS latency_ms
"""
COUNTERS: Final = (
    "cost_picousd",
    "fallback_cost_picousd",
    "call_count",
    "unknown_cost_count",
    "failed_count",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "latency_ms",
)


_FIRST_WHOLE = "SELECT ifnull(max(before_ms), 0) / 900000 FROM pruned"
_BY_EXECUTION = f"""
    SELECT ifnull(execution, '') AS execution, {OF_ROW} FROM attempts WHERE status <> 'pending'
    AND started_ms >= max(:since, ({_FIRST_WHOLE})) * 900000 AND started_ms < :until * 900000
"""  # noqa: S608 (own names)
_PRUNED_ROLLUPS = f"(SELECT '{PRUNED}' AS execution, * FROM rollups)"  # noqa: S608 (own names)


@dataclass(frozen=True, slots=True)
class Span:
    """What a report is about; both ends are whole quarter-hours, and a workspace of None is all of them."""

    since_ms: int | None
    until_ms: int
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What a group of attempts came to; `unknown_cost_count` of its calls have no known cost and are not in it."""

    key: dict[str, str] = field(default_factory=dict)
    cost_picousd: int = 0
    fallback_cost_picousd: int = 0
    call_count: int = 0
    unknown_cost_count: int = 0
    failed_count: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    latency_ms: int = 0

    @property
    def cost_usd(self) -> float:
        """The sum of the costs that are known."""
        return self.cost_picousd / PICO_PER_USD

    @property
    def known_cost_usd(self) -> float | None:
        """The same, None where there were calls and the cost of none is known."""
        return None if 0 < self.call_count == self.unknown_cost_count else self.cost_usd

    @property
    def fallback_cost_usd(self) -> float:
        """What attempts after the first of their request cost, as far as it is known."""
        return self.fallback_cost_picousd / PICO_PER_USD

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


def by_model(ledger: Ledger, since_ms: int | None, until_ms: int, workspace: str | None = None) -> list[Line]:
    """Return a line for each model that was called in the span, dearest first.  Both ends are whole quarter-hours."""
    return grouped(ledger, "model", Span(since_ms, until_ms, workspace))


def grouped(ledger: Ledger, by: str, span: Span, local: Callable[[int], datetime] | None = None) -> list[Line]:
    """Return a line for each value of one of DIMENSIONS: days and hours in order, all else dearest first.

    `local` tells the time on the user's wall; days and hours need it.
    """
    if by in _CLOCK:
        assert local is not None
        return _by_clock(ledger, by, span, local)
    keys = ("provider", "model") if by == "model" else (by,)
    return sorted(_lines(ledger, keys, span), key=lambda line: (-line.cost_usd, -line.call_count, *line.key.values()))


def _by_clock(ledger: Ledger, by: str, span: Span, local: Callable[[int], datetime]) -> list[Line]:
    """Sum the quarters of each day or hour on the user's wall; an hour that comes twice has two offsets."""
    found: dict[str, Sequence[int]] = {}
    for (quarter,), counts in _counted(ledger, ("quarter",), span):
        told = local(quarter * QUARTER_MS).isoformat()
        _add(found, told[:10] if by == "day" else f"{told[:13]}:00{told[19:]}", counts)
    return [Line({by: label}, *counts) for label, counts in found.items()]


def _lines(ledger: Ledger, keys: tuple[str, ...], span: Span) -> list[Line]:
    """Sum the span by keys."""
    found: dict[tuple[str, ...], Sequence[int]] = {}
    for key, counts in _counted(ledger, keys, span):
        _add(found, tuple(map(str, key)), counts)
    return [Line(dict(zip(keys, key, strict=True)), *counts) for key, counts in found.items()]


def _add(found: dict[Key, Sequence[int]], key: Key, counts: Sequence[int]) -> None:
    known = found.get(key)
    found[key] = counts if known is None else [*map(add, known, counts)]


def _counted(ledger: Ledger, keys: tuple[str, ...], span: Span) -> Iterator[tuple[tuple[Any, ...], Sequence[int]]]:
    """Yield values of the keys, in order, and what they count, in the order of COUNTERS; values may come several times.

    It is one statement, so that what is written meanwhile is in it once or not at all.
    """
    columns = ", ".join(keys)
    sql = _select(keys, "" if span.workspace is None else " AND workspace = :workspace")
    values = {
        "since": 0 if span.since_ms is None else span.since_ms // QUARTER_MS,
        "until": -(-span.until_ms // QUARTER_MS),
        "workspace": span.workspace,
    }
    with ledger.reading() as db:
        for row in Database(db).execute(f"{sql} ORDER BY {columns}", values):
            yield row[: len(keys)], row[len(keys) :]


def _select(keys: tuple[str, ...], own: str) -> str:
    """Return the SQL that reads the fewest rows: coarse tables as far as they are whole, rollups for the rest."""
    columns = ", ".join(keys)

    def part(table: str, where: str) -> str:
        return f"SELECT {columns}, {_SUMS} FROM {table} WHERE call_count > 0 AND {where}{own} GROUP BY {columns}"  # noqa: S608 (own names)

    if keys == ("execution",):
        # Of executions only the rows tell.
        whole = f"({_FIRST_WHOLE})"
        parts = [
            part(f"({_BY_EXECUTION})", "true"),
            part(
                _PRUNED_ROLLUPS,
                f"quarter >= :since AND quarter < min(:until, {whole})",
            ),
        ]
    elif {"quarter", "workspace", "status"}.issuperset(keys):
        whole = f"{coarse.SINCE_DAY} * 96"
        parts = [
            part("rollups", f"quarter >= :since AND quarter < min(:until, {whole})"),
            part("quarters", f"quarter >= max(:since, {whole}) AND quarter < :until"),
        ]
    elif {"provider", "model", "workspace", "status"}.issuperset(keys):
        # The whole days; both ends are the same where there is none.  The last is one if nothing comes after the span.
        end = "(:until + 95 * (NOT EXISTS (SELECT 1 FROM rollups WHERE quarter >= :until))) / 96"
        first = f"min({end}, max((:since + 95) / 96, {coarse.SINCE_DAY}))"
        parts = [
            part("rollups", f"quarter >= :since AND quarter < {first} * 96"),
            part("days", f"day >= {first} AND day < {end}"),
            part("rollups", f"quarter >= max(:since, {end} * 96) AND quarter < :until"),
        ]
    else:
        parts = [part("rollups", "quarter >= :since AND quarter < :until")]
    return " UNION ALL ".join(parts)


def total(lines: Iterable[Line], key: dict[str, str] | None = None) -> Line:
    """Return the sum of lines."""
    found = list(lines)
    return Line(key or {}, *(sum(getattr(line, name) for line in found) for name in COUNTERS))
