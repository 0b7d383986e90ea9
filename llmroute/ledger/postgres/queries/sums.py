"""Sum settled attempts by keys, from the rollups and what is not merged into them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, NEVER_DAY
from llmroute.ledger.postgres.schema.sums import contribution
from llmroute.ledger.postgres.schema.tables import COARSE, ROLLUP_KEY
from llmroute.ledger.postgres.schema.tables import COUNTERS as STORED
from llmroute.ledger.reports import COUNTERS, PRUNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from llmroute.ledger.port import Span

_BY_STATUS = {
    "failed_count": "CASE WHEN status IN ('ok', 'rejected') THEN 0 ELSE call_count END",
    "rejected_count": "CASE WHEN status = 'rejected' THEN call_count ELSE 0 END",
}
SUMS = ", ".join(f"sum({_BY_STATUS.get(name, name)})" for name in COUNTERS)
_OF_WORKSPACE = " AND workspace = %(workspace)s"
_COLUMNS = ", ".join((*ROLLUP_KEY, *STORED))


# Words of providers for the tier with the list price, as in `sqlite.queries.counters`.
_TIER = "CASE WHEN coalesce(service_tier, '') IN ('', 'default', 'auto') THEN 'standard' ELSE service_tier END"


def all_sums(schema: str) -> str:
    """Return a table of all rollups and deltas."""
    return f"(SELECT {_COLUMNS} FROM {schema}.rollups UNION ALL SELECT {_COLUMNS} FROM {schema}.deltas) AS sums"  # noqa: S608


def of_rows(schema: str, condition: str) -> str:
    """Return a table of what each settled attempt under a condition adds to the sums, with its execution and tier."""
    key, counters = contribution("attempts", STORED)
    columns = [f"{value} AS {name}" for value, name in zip((*key, *counters), (*ROLLUP_KEY, *STORED), strict=True)]
    return (
        f"(SELECT coalesce(execution, '') AS execution, {_TIER} AS tier, {', '.join(columns)}"  # noqa: S608 (own names)
        f" FROM {schema}.attempts WHERE status <> 'pending' AND {condition}) AS counted"
    ).format(schema=schema)


def counted(
    db: Connection, schema: str, keys: tuple[str, ...], span: Span
) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
    """Yield values of the keys and the `reports.COUNTERS`; the same values may come several times."""
    first = 0 if span.since_ms is None else span.since_ms // BUCKET_MS
    end = -(-span.until_ms // BUCKET_MS)
    own = "" if span.workspace is None else _OF_WORKSPACE
    for table, time, since, until in _parts(db, schema, keys, first, end):
        if since < until:
            names = ", ".join(keys)
            within = f"{time} >= %(first)s AND {time} < %(end)s"
            # Deltas that correct sums count no calls.
            sql = f"SELECT {names}, {SUMS} FROM {table} WHERE {within}{own}"  # noqa: S608
            values = {"first": since, "end": until, "workspace": span.workspace}
            for row in db.execute(f"{sql} GROUP BY {names} ORDER BY {names}".encode(), values):
                if any(row[len(keys) :]):
                    yield row[: len(keys)], tuple(map(int, row[len(keys) :]))


def since_day(db: Connection, schema: str) -> int:
    """Return the day from which on all coarse tables and counters are complete."""
    row = db.execute(f"SELECT since_day FROM {schema}.coarse".encode()).fetchone()  # noqa: S608 (own name)
    return int(row[0]) if row else NEVER_DAY


def pruned_until_ms(db: Connection, schema: str) -> int:
    """Return the time before which all attempts are pruned; 0 if none is."""
    row = db.execute(f"SELECT coalesce(max(before_ms), 0) FROM {schema}.pruned".encode()).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def _parts(
    db: Connection, schema: str, keys: tuple[str, ...], first: int, end: int
) -> Sequence[tuple[str, str, int, int]]:
    """Return tables, the column of their time and its bounds: as few rows as have the keys.

    Executions and tiers are only in the rows of attempts.
    """
    if not {"execution", "tier"} & set(keys):
        return _of_sums(db, schema, keys, first, end)
    whole = pruned_until_ms(db, schema) // BUCKET_MS
    rows = of_rows(
        schema, f"started_ms >= %(first)s::bigint * {BUCKET_MS} AND started_ms < %(end)s::bigint * {BUCKET_MS}"
    )
    pruned = f"(SELECT '{PRUNED}' AS execution, '{PRUNED}' AS tier, * FROM {all_sums(schema)}) AS counted"  # noqa: S608 (own names)
    return [(rows, "quarter", max(first, whole), end), (pruned, "quarter", first, min(end, whole))]


def _of_sums(
    db: Connection, schema: str, keys: tuple[str, ...], first: int, end: int
) -> Sequence[tuple[str, str, int, int]]:
    """Return the coarsest table that has the keys where it is complete, the rollups elsewhere, and the deltas."""
    filled = since_day(db, schema)
    deltas = (f"{schema}.deltas", "quarter", first, end)
    for table, (time, *columns) in COARSE.items():
        if {time, *columns}.issuperset(keys) and ("quarter" in keys) is (time == "quarter"):
            unit = 1 if time == "quarter" else BUCKETS_PER_DAY
            # The days were complete from the beginning.
            since = 0 if table == "days" else filled * BUCKETS_PER_DAY // unit
            first_whole = max(-(-first // unit), since)
            end_whole = max(end // unit, first_whole)
            return [
                (f"{schema}.{table}", time, first_whole, end_whole),
                (f"{schema}.rollups", "quarter", first, min(first_whole * unit, end)),
                (f"{schema}.rollups", "quarter", end_whole * unit, end),
                deltas,
            ]
    return [(f"{schema}.rollups", "quarter", first, end), deltas]
