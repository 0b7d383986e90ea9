"""Totals of the ledger, read from the rollups: a report costs what its period is long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.ledger.store import Ledger

QUARTER_MS = 900_000

_SUMS = """
    sum(cost_picousd) AS cost_picousd, sum(call_count) AS call_count, sum(unknown_cost_count) AS unknown_cost_count,
    sum(iif(status = 'ok', 0, call_count)) AS failed_count, sum(input_tokens) AS input_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(latency_ms) AS latency_ms
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What a group of attempts came to; `unknown_cost_count` of its calls have no known cost and are not in it."""

    key: dict[str, str]
    cost_usd: float
    call_count: int
    failed_count: int
    unknown_cost_count: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    latency_ms: int


def by_model(ledger: Ledger, since_ms: int | None, until_ms: int, workspace: str | None = None) -> list[Line]:
    """Return a line for each model that was called in the span, dearest first.  Both ends are whole quarter-hours."""
    where, values = _span(since_ms, until_ms, workspace)
    sql = f"SELECT provider, model, {_SUMS} FROM rollups WHERE {where} GROUP BY provider, model"  # noqa: S608
    with ledger.reading() as db:
        lines = [_line(row, ("provider", "model")) for row in Database(db).query(sql, values)]
    return sorted(lines, key=lambda line: (-line.cost_usd, -line.call_count, line.key["provider"], line.key["model"]))


def total(lines: list[Line]) -> Line:
    """Return the sum of lines."""
    return Line(
        key={},
        cost_usd=sum(line.cost_usd for line in lines),
        call_count=sum(line.call_count for line in lines),
        failed_count=sum(line.failed_count for line in lines),
        unknown_cost_count=sum(line.unknown_cost_count for line in lines),
        input_tokens=sum(line.input_tokens for line in lines),
        cached_input_tokens=sum(line.cached_input_tokens for line in lines),
        output_tokens=sum(line.output_tokens for line in lines),
        reasoning_tokens=sum(line.reasoning_tokens for line in lines),
        latency_ms=sum(line.latency_ms for line in lines),
    )


def _span(since_ms: int | None, until_ms: int, workspace: str | None) -> tuple[str, dict[str, Any]]:
    parts = ["call_count > 0", "quarter < :until"]
    values: dict[str, Any] = {"until": -(-until_ms // QUARTER_MS)}
    if since_ms is not None:
        parts.append("quarter >= :since")
        values["since"] = since_ms // QUARTER_MS
    if workspace is not None:
        parts.append("workspace = :workspace")
        values["workspace"] = workspace
    return " AND ".join(parts), values


def _line(row: dict[str, Any], keys: tuple[str, ...]) -> Line:
    return Line(
        key={key: row[key] for key in keys},
        cost_usd=row["cost_picousd"] / PICO_PER_USD,
        call_count=row["call_count"],
        failed_count=row["failed_count"],
        unknown_cost_count=row["unknown_cost_count"],
        input_tokens=row["input_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        latency_ms=row["latency_ms"],
    )
