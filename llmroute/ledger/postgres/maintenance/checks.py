"""Check the sums of a ledger against its rows, and correct them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY
from llmroute.ledger.maintenance import COARSE_NAMES
from llmroute.ledger.postgres.queries.sums import all_sums, of_rows
from llmroute.ledger.postgres.schema.tables import COARSE, COUNTERS, FIRST_COUNTERS, ROLLUP_KEY
from llmroute.text.plural import many

if TYPE_CHECKING:
    from psycopg import Connection

_KEY, _NAMES = ", ".join(ROLLUP_KEY), ", ".join(COUNTERS)
_MINUS = ", ".join(f"-{name}" for name in COUNTERS)
_SUMS = ", ".join(f"sum({name})::bigint" for name in COUNTERS)
_DIFFERENT = " OR ".join(f"sum({name}) <> 0" for name in COUNTERS)


def attempt_count(db: Connection, schema: str) -> int:
    """Return how many attempts there are."""
    row = db.execute(f"SELECT count(*) FROM {schema}.attempts".encode()).fetchone()  # noqa: S608 (own name)
    return int(row[0]) if row else 0


def wrong_sums(db: Connection, schema: str) -> list[str]:
    """Describe where sums and budget windows are not those of the rows; pruned time has no rows."""
    quarters = db.execute(
        f"SELECT count(DISTINCT quarter) FROM ({_differences(schema)}) AS wrong".encode()  # noqa: S608 (own names)
    ).fetchone()
    windows = db.execute(
        f"""
        SELECT count(*) FROM {schema}.windows AS known
        CROSS JOIN LATERAL {schema}.sums_of_window_1(workspace, start_ms, end_ms) AS sums
        WHERE (known.spent_picousd, known.reserved_picousd) <> (sums.spent_picousd, sums.reserved_picousd)
        """.encode()  # noqa: S608 (own names)
    ).fetchone()
    assert quarters is not None
    assert windows is not None
    found = {"quarter-hour": quarters[0]}
    for table, key in COARSE.items():
        sql = f"SELECT count(DISTINCT {key[0]}) FROM ({_coarse_differences(schema, table)}) AS wrong"  # noqa: S608
        (found[COARSE_NAMES[table]],) = db.execute(sql.encode()).fetchone() or (0,)
    found["budget window"] = windows[0]
    return [f"the sums of {many(count, what)} are not those of the rows" for what, count in found.items() if count]


def correct_sums(db: Connection, schema: str) -> None:
    """Add what sums lack and take what they have too much; call it in a transaction, which keeps writes out."""
    db.execute(f"LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE".encode())
    db.execute(f"INSERT INTO {schema}.deltas ({_KEY}, {_NAMES}) {_differences(schema)}".encode())
    added = ", ".join(f"{name} = known.{name} + excluded.{name}" for name in COUNTERS)
    for table, key in COARSE.items():
        names = ", ".join(key)
        missing = f"INSERT INTO {schema}.{table} AS known ({names}, {_NAMES}) {_coarse_differences(schema, table)}"
        # In the order of merges, which lock the same rows.
        db.execute(f"{missing} ORDER BY {names} ON CONFLICT ({names}) DO UPDATE SET {added}".encode())
    db.execute(
        f"""
        UPDATE {schema}.windows AS known
        SET spent_picousd = sums.spent_picousd, reserved_picousd = sums.reserved_picousd
        FROM {schema}.windows AS same
        CROSS JOIN LATERAL {schema}.sums_of_window_1(same.workspace, same.start_ms, same.end_ms) AS sums
        WHERE (known.workspace, known.start_ms, known.end_ms) = (same.workspace, same.start_ms, same.end_ms)
        """.encode()  # noqa: S608 (own names)
    )


def _differences(schema: str) -> str:
    """Return the SQL of amounts that the sums lack, by key; of newer counters, since they are complete."""
    whole = f"(SELECT -div(-coalesce(max(before_ms), 0), {BUCKET_MS})::bigint FROM {schema}.pruned)"  # noqa: S608
    newer = f"CASE WHEN quarter >= {_since_day(schema)} * {BUCKETS_PER_DAY} THEN {{name}} ELSE 0 END AS {{name}}"
    known = ", ".join(name if name in FIRST_COUNTERS else newer.format(name=name) for name in COUNTERS)
    rows = of_rows(schema, "true")
    return f"""
        SELECT {_KEY}, {_SUMS} FROM (
            SELECT {_KEY}, {known} FROM {rows} WHERE quarter >= {whole}
            UNION ALL
            SELECT {_KEY}, {_MINUS} FROM (SELECT {_KEY}, {known} FROM {all_sums(schema)}) AS summed
            WHERE quarter >= {whole}
        ) AS difference GROUP BY {_KEY} HAVING {_DIFFERENT}
    """  # noqa: S608 (own names)


def _coarse_differences(schema: str, table: str) -> str:
    """Return the SQL of the amounts of the rollups that a coarse table lacks, by key, since it is complete."""
    key = COARSE[table]
    names = ", ".join(key)
    return f"""
        SELECT {names}, {_SUMS} FROM (
            SELECT {names}, {_NAMES} FROM (SELECT quarter / {BUCKETS_PER_DAY} AS day, * FROM {schema}.rollups) AS summed
            UNION ALL SELECT {names}, {_MINUS} FROM {schema}.{table}
        ) AS difference
        WHERE {key[0]}{"" if key[0] == "day" else f" / {BUCKETS_PER_DAY}"} >= {_since_day(schema)}
        GROUP BY {names} HAVING {_DIFFERENT}
    """  # noqa: S608 (own names)


def _since_day(schema: str) -> str:
    return f"(SELECT since_day FROM {schema}.coarse)"  # noqa: S608 (own name)
