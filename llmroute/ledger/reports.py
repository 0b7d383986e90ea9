"""Cost reports: totals by model, provider, day, workspace and other keys."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import add
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.port import Span
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from llmroute.ledger.port import Counts

Key = TypeVar("Key")

# The execution and the tier of pruned rows are unknown.
PRUNED: Final = "(pruned)"
_CLOCK: Final = ("day", "hour")


@dataclass(frozen=True, slots=True)
class Line:
    """The counters of a group of attempts; its cost excludes the `unknown_cost_count` attempts of unknown cost.

    Answers that a check rejected are in `rejected_count` and not in `failed_count`.  `cache_saved_picousd` is what the
    same tokens would have cost more without prompt caches; negative where writes cost more than reads have saved.
    """

    key: dict[str, str] = field(default_factory=dict)
    cost_picousd: int = 0
    fallback_cost_picousd: int = 0
    call_count: int = 0
    unknown_cost_count: int = 0
    failed_count: int = 0
    rejected_count: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    latency_ms: int = 0
    cache_saved_picousd: int = 0

    @property
    def cost_usd(self) -> float:
        """The sum of the known costs."""
        return self.cost_picousd / PICO_PER_USD

    @property
    def known_cost_usd(self) -> float | None:
        """As `cost_usd`; None where all costs are unknown."""
        return None if 0 < self.call_count == self.unknown_cost_count else self.cost_usd

    @property
    def fallback_cost_usd(self) -> float:
        """The known cost of attempts after the first of their request."""
        return self.fallback_cost_picousd / PICO_PER_USD

    @property
    def cached_share(self) -> float | None:
        """The share of the input tokens that was read from prompt caches, 0 to 1; None without input."""
        return self.cached_input_tokens / self.input_tokens if self.input_tokens else None

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


# The counters, in the order of the fields of a Line.
COUNTERS: Final = tuple(one.name for one in fields(Line) if one.name != "key")


def by_model(counts: Counts, since_ms: int | None, until_ms: int, workspace: str | None = None) -> list[Line]:
    """Return a line for each model, highest cost first; both ends are on bucket boundaries."""
    return grouped(counts, "model", Span(since_ms, until_ms, workspace))


def grouped(counts: Counts, by: str, span: Span, local: Callable[[int], datetime] | None = None) -> list[Line]:
    """Return a line for each value of one of DIMENSIONS: days and hours in order, others by cost, highest first.

    `local` converts UTC milliseconds to the user's time zone, for days and hours.
    """
    if by in _CLOCK:
        assert local is not None
        return _by_clock(counts, by, span, local)
    keys = ("provider", "model") if by == "model" else (by,)
    return sorted(lines_of(counts, keys, span), key=_highest_first)


def regrouped(lines: Iterable[Line], by: str) -> list[Line]:
    """Return a line for each value of one of the keys of `lines`, highest cost first."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.key[by], []).append(line)
    return sorted((total(own, {by: value}) for value, own in found.items()), key=_highest_first)


def _highest_first(line: Line) -> tuple[Any, ...]:
    return (-line.cost_usd, -line.call_count, *line.key.values())


def _by_clock(counts: Counts, by: str, span: Span, local: Callable[[int], datetime]) -> list[Line]:
    """Sum the buckets of each local day or hour; an hour that a clock change repeats has two offsets."""
    found: dict[str, Sequence[int]] = {}
    for (bucket,), counters in sorted(counts.counted(("quarter",), span)):
        start = local(bucket * BUCKET_MS).isoformat()
        _add(found, start[:10] if by == "day" else f"{start[:13]}:00{start[19:]}", counters)
    return [Line({by: label}, *counters) for label, counters in found.items() if any(counters)]


def lines_of(counts: Counts, keys: tuple[str, ...], span: Span) -> list[Line]:
    """Return the sum of the span for each combination of values of the keys, in no order."""
    found: dict[tuple[str, ...], Sequence[int]] = {}
    for key, counters in counts.counted(keys, span):
        _add(found, tuple(map(str, key)), counters)
    # A correction that is not merged yet may take everything from a sum.
    return [Line(dict(zip(keys, key, strict=True)), *counters) for key, counters in found.items() if any(counters)]


def _add(sums: dict[Key, Sequence[int]], key: Key, counters: Sequence[int]) -> None:
    before = sums.get(key)
    sums[key] = counters if before is None else [*map(add, before, counters)]


def total(lines: Iterable[Line], key: dict[str, str] | None = None) -> Line:
    """Return the sum of lines."""
    found = list(lines)
    return Line(key or {}, *(sum(getattr(line, name) for line in found) for name in COUNTERS))


# The tiers of attempts in SQL, which is the same for both stores.
NOT_STANDARD: Final = "coalesce(service_tier, '') NOT IN ('', 'standard', 'default', 'auto')"
OF_BATCHES: Final = "service_tier = 'batch'"
# A cost that is not of the counted tokens alone: a whole reservation, or with the provider's own tools.
_COUNTED: Final = "cost_picousd > 0 AND coalesce(cost_basis, '') <> 'at_most' AND server_tools IS NULL"
PRICED_TOKENS: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
"""The columns of an attempt, and fields of a `Usage`, that prices are for."""


def tier_columns(lengths: Sequence[int]) -> str:
    """Return the columns of `port.TierSums` as SQL, to be grouped by the first four.

    `lengths` are the lengths of prompts from which on prices differ.
    """
    cases = " ".join(f"WHEN input_tokens > {length:d} THEN {length:d}" for length in sorted(lengths, reverse=True))
    longer_than = f"CASE {cases} ELSE 0 END" if cases else "0"
    sums = ", ".join(
        f"coalesce(sum(CASE WHEN {_COUNTED} THEN {name} END), 0)" for name in (*PRICED_TOKENS, "cost_picousd")
    )
    return (
        f"service_tier, provider, model, {longer_than}, count(*),"
        f" coalesce(sum(CASE WHEN cost_picousd = 0 OR ({_COUNTED}) THEN 0 ELSE 1 END), 0), {sums}"
    )
