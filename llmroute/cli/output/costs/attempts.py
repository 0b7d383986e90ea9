"""Attempts as a table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from llmroute.cli.output.tables import cell, columns, fitted
from llmroute.ledger.periods import utc_time
from llmroute.planning.usage_cost import usd
from llmroute.text.money import money

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = ("when", "model", "status", "cost", "in", "out", "time", "id")
_NUMBERS = (3, 4, 5, 6, 7)
_WORDS = {"at_most": "at most ", "at_least": "at least ", "corrected": "corrected "}


def attempts_table(found: Sequence[dict[str, Any]], fits: int | None) -> str:
    """Return attempts as an aligned table, cut to `fits` characters where there is a limit."""
    moments = [utc_time(row["started_ms"]).astimezone() for row in found]
    this_year = {moment.year for moment in moments} == {datetime.now().astimezone().year}
    rows = [
        [
            f"{moment:{'' if this_year else '%Y-'}%m-%d %H:%M:%S}",
            cell(f"{row['provider']}/{row['model']}"),
            cell(_status(row)),
            attempt_cost(row),
            _count(row, "input_tokens"),
            _count(row, "output_tokens"),
            "" if row["latency_ms"] is None else f"{row['latency_ms'] / 1000:.1f} s",
            str(row["id"]),
        ]
        for row, moment in zip(found, moments, strict=True)
    ]
    return columns(_HEAD, rows, _NUMBERS) if fits is None else fitted(_HEAD, rows, 1, fits, _NUMBERS)


def _status(row: dict[str, Any]) -> str:
    """Return the status with its error and HTTP status, where all did not go well, and a mark for a cut prompt."""
    names = ("status",) if row["status"] == "ok" else ("status", "error", "http_status")
    text = " ".join(str(row[name]) for name in names if row[name] is not None)
    return text if row["prompt_cut"] is None else f"{text}, prompt cut"


def attempt_cost(row: dict[str, Any]) -> str:
    """Return the cost of an attempt with how exact it is; a pending one has none yet."""
    if row["status"] == "pending":
        return ""
    cost, most = usd(row["cost_picousd"]), usd(row["reserved_picousd"])
    if cost is None:
        return "unknown"
    if (basis := _basis(row)) == "estimated":
        bounded = most is not None and row["usage_source"] != "reported"
        return f"~{money(cost)} (at most {money(most)})" if bounded else f"~{money(cost)}"
    return f"{_WORDS.get(basis, '')}{money(cost)}"


def _basis(row: dict[str, Any]) -> str:
    """Return where a cost comes from; a row of an older llmroute says it by other columns."""
    if row["cost_basis"] is not None:
        return str(row["cost_basis"])
    if row["status"] == "lost":
        return "at_most"
    return "estimated" if row["usage_source"] == "estimated" else "reported"


def _count(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "?"
    return f"{'~' if row['usage_source'] in ('estimated', 'implausible') else ''}{row[name]:,}"
