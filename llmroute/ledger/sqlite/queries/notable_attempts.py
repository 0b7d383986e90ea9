"""Select attempts that stand out in a span: those that failed, cost most or took longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.port import NotableAttempts

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.port import Span

_WITHIN = "started_ms >= :since_ms AND started_ms < :until_ms"
_OWN = " AND ifnull(workspace, '') = :workspace"
_FAILURES = f"""
    SELECT ifnull(error, status), count(*) FROM attempts INDEXED BY attempts_failed
    WHERE status NOT IN ('ok', 'pending') AND {_WITHIN}{{own}} GROUP BY 1 ORDER BY 2 DESC, 1
"""  # noqa: S608 (own names)
# Both are answered from the index of a column, a day after the other, so that the calls of a day are not read.
_NEXT_DAY = f"""
    SELECT min(started_ms / {DAY_MS}) FROM attempts INDEXED BY {{index}}
    WHERE {{column}} > 0 AND started_ms / {DAY_MS} >= :day
"""  # noqa: S608 (own names)
_HIGHEST_OF_DAY = f"""
    SELECT {{column}}, id FROM attempts INDEXED BY {{index}}
    WHERE started_ms / {DAY_MS} = :day AND {{column}} > 0 AND {{column}} >= :least AND {_WITHIN}{{own}}
    ORDER BY {{column}} DESC, id LIMIT :most
"""  # noqa: S608 (own names)
_INDEXES = {"cost_picousd": "attempts_by_cost", "latency_ms": "attempts_by_latency"}


def notable_attempts(db: sqlite3.Connection, span: Span, most: int) -> NotableAttempts:
    """Return the attempts of a span that stand out, `most` of each kind."""
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    own = "" if span.workspace is None else _OWN
    return NotableAttempts(
        dearest=_highest(db, "cost_picousd", own, values, most),
        slowest=_highest(db, "latency_ms", own, values, most),
        failures=db.execute(_FAILURES.format(own=own), values).fetchall(),
    )


def _highest(db: sqlite3.Connection, column: str, own: str, values: dict[str, Any], most: int) -> list[dict[str, Any]]:
    words = {"column": column, "index": _INDEXES[column], "own": own}
    next_day, of_day = _NEXT_DAY.format(**words), _HIGHEST_OF_DAY.format(**words)
    found: list[tuple[int, int]] = []
    day, last_day = values["since_ms"] // DAY_MS, (values["until_ms"] - 1) // DAY_MS
    while True:
        (day,) = db.execute(next_day, {"day": day}).fetchone()
        if day is None or day > last_day:
            break
        least = found[-1][0] if len(found) == most else 0
        found += db.execute(of_day, {**values, "day": day, "least": least, "most": most})
        found = sorted(found, key=lambda one: (-one[0], one[1]))[:most]
        day += 1
    sql = f"SELECT * FROM attempts WHERE id IN ({', '.join('?' * len(found))})"  # noqa: S608 (own names)
    rows = {row["id"]: row for row in Database(db).query(sql, [row_id for _, row_id in found])}
    return [rows[row_id] for _, row_id in found]
