"""Sum settled attempts by keys from the fewest rows: from the coarse tables where complete, else the rollups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY
from llmroute.ledger.reports import COUNTERS, PRUNED
from llmroute.ledger.sqlite.schema.backfill import SINCE_DAY
from llmroute.ledger.sqlite.schema.rollups import OF_ROW

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from llmroute.ledger.port import Span

# The counters of a report that are no columns.
_BY_STATUS = {
    "failed_count": "iif(status IN ('ok', 'rejected'), 0, call_count)",
    "rejected_count": "iif(status = 'rejected', call_count, 0)",
}
SUMS = ", ".join(f"sum({_BY_STATUS.get(name, name)}) AS {name}" for name in COUNTERS)

_COUNT = f"SELECT {{keys}}, {SUMS} FROM {{table}} WHERE call_count > 0 AND {{within}}{{own}} GROUP BY {{keys}}"  # noqa: S608
_OF_WORKSPACE = " AND workspace = :workspace"
_BY_BUCKET = "quarter >= :first AND quarter < :end"
_BY_DAY = "day >= :first AND day < :end"
# Words of providers for the tier with the list price.
_TIER = "iif(ifnull(service_tier, '') IN ('', 'default', 'auto'), 'standard', service_tier)"
_BY_ROW = f"""(
    SELECT ifnull(execution, '') AS execution, {_TIER} AS tier, {OF_ROW} FROM attempts
    WHERE status <> 'pending' AND started_ms >= :first * {BUCKET_MS} AND started_ms < :end * {BUCKET_MS}
)"""  # noqa: S608 (own names)
_OF_PRUNED = f"(SELECT '{PRUNED}' AS execution, '{PRUNED}' AS tier, * FROM rollups)"  # noqa: S608 (own names)

_FIRST_WITH_ROWS = f"SELECT ifnull(max(before_ms), 0) / {BUCKET_MS} FROM pruned"  # noqa: S608 (own names)
_ARE_LATER = "SELECT EXISTS (SELECT 1 FROM rollups WHERE quarter >= ?)"


_DAYS = {
    "days": {"provider", "model", "workspace", "status"},
    "task_days": {"workspace", "task", "status"},
    "strategy_days": {"workspace", "strategy", "status"},
}


class _Part(NamedTuple):
    """The rows of a table from `first` to before `end`, which are days or buckets as `within` says."""

    table: str
    within: str
    first: int
    end: int


def counted(
    db: sqlite3.Connection, keys: tuple[str, ...], span: Span
) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
    """Yield values of the keys and their counters, in the order of COUNTERS; values may come several times.

    Call it in a transaction, so that all parts are of one snapshot.
    """
    since = 0 if span.since_ms is None else span.since_ms // BUCKET_MS
    until = -(-span.until_ms // BUCKET_MS)
    columns = ", ".join(keys)
    own = "" if span.workspace is None else _OF_WORKSPACE
    for part in _parts(db, keys, since, until):
        if part.first < part.end:
            sql = _COUNT.format(keys=columns, table=part.table, within=part.within, own=own)
            values = {"first": part.first, "end": part.end, "workspace": span.workspace}
            for row in db.execute(f"{sql} ORDER BY {columns}", values):
                yield row[: len(keys)], row[len(keys) :]


def _parts(db: sqlite3.Connection, keys: tuple[str, ...], since: int, until: int) -> tuple[_Part, ...]:
    if {"execution", "tier"} & set(keys):
        return _with_rows(db, since, until)
    if {"quarter", "workspace", "status"}.issuperset(keys) and "quarter" in keys:
        return _by_bucket(db, since, until)
    for table, columns in _DAYS.items():
        if columns.issuperset(keys):
            return _by_day(db, table, since, until)
    return (_Part("rollups", _BY_BUCKET, since, until),)


def _with_rows(db: sqlite3.Connection, since: int, until: int) -> tuple[_Part, ...]:
    """Executions and tiers are only in the rows of attempts."""
    whole = _number(db, _FIRST_WITH_ROWS)
    return (
        _Part(_BY_ROW, "true", max(since, whole), until),
        _Part(_OF_PRUNED, _BY_BUCKET, since, min(until, whole)),
    )


def _by_bucket(db: sqlite3.Connection, since: int, until: int) -> tuple[_Part, ...]:
    whole = _number(db, f"SELECT {SINCE_DAY}") * BUCKETS_PER_DAY
    return (
        _Part("rollups", _BY_BUCKET, since, min(until, whole)),
        _Part("quarters", _BY_BUCKET, max(since, whole), until),
    )


def _by_day(db: sqlite3.Connection, table: str, since: int, until: int) -> tuple[_Part, ...]:
    """Use complete days; the last day counts as complete if no attempt follows the end of the span."""
    end_day = (until if _number(db, _ARE_LATER, until) else until + BUCKETS_PER_DAY - 1) // BUCKETS_PER_DAY
    since_day = max(-(-since // BUCKETS_PER_DAY), _number(db, f"SELECT {SINCE_DAY}"))
    first_day = min(end_day, since_day)
    return (
        _Part("rollups", _BY_BUCKET, since, first_day * BUCKETS_PER_DAY),
        _Part(table, _BY_DAY, first_day, end_day),
        _Part("rollups", _BY_BUCKET, max(since, end_day * BUCKETS_PER_DAY), until),
    )


def _number(db: sqlite3.Connection, sql: str, *values: int) -> int:
    return int(db.execute(sql, values).fetchone()[0])
