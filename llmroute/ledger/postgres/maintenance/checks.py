"""Check the sums of a ledger against its rows, and correct them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY
from llmroute.ledger.postgres.queries.sums import all_sums, of_rows
from llmroute.ledger.postgres.schema.tables import COUNTERS, DAY_KEY, ROLLUP_KEY
from llmroute.text.plural import many

if TYPE_CHECKING:
    from psycopg import Connection

_KEY, _DAY_KEY, _NAMES = ", ".join(ROLLUP_KEY), ", ".join(DAY_KEY), ", ".join(COUNTERS)
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
    days = db.execute(
        f"SELECT count(DISTINCT day) FROM ({_day_differences(schema)}) AS wrong".encode()  # noqa: S608 (own names)
    ).fetchone()
    assert quarters is not None
    assert days is not None
    assert windows is not None
    found = {"quarter-hour": quarters[0], "day": days[0], "budget window": windows[0]}
    return [f"the sums of {many(count, what)} are not those of the rows" for what, count in found.items() if count]


def correct_sums(db: Connection, schema: str) -> None:
    """Add what sums lack and take what they have too much; call it in a transaction, which keeps writes out."""
    db.execute(f"LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE".encode())
    db.execute(f"INSERT INTO {schema}.deltas ({_KEY}, {_NAMES}) {_differences(schema)}".encode())
    added = ", ".join(f"{name} = known.{name} + excluded.{name}" for name in COUNTERS)
    days = f"INSERT INTO {schema}.days AS known ({_DAY_KEY}, {_NAMES}) {_day_differences(schema)}"
    db.execute(f"{days} ON CONFLICT ({_DAY_KEY}) DO UPDATE SET {added}".encode())
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
    """Return the SQL of what is missing from the sums, by key."""
    whole = f"(SELECT -div(-coalesce(max(before_ms), 0), {BUCKET_MS})::bigint FROM {schema}.pruned)"  # noqa: S608
    rows = of_rows(schema, "true")
    return f"""
        SELECT {_KEY}, {_SUMS} FROM (
            SELECT {_KEY}, {_NAMES} FROM {rows} WHERE quarter >= {whole}
            UNION ALL
            SELECT {_KEY}, {_MINUS} FROM {all_sums(schema)}
            WHERE quarter >= {whole}
        ) AS difference GROUP BY {_KEY} HAVING {_DIFFERENT}
    """  # noqa: S608 (own names)


def _day_differences(schema: str) -> str:
    """Return the SQL of what the days lack of the rollups, by key."""
    return f"""
        SELECT {_DAY_KEY}, {_SUMS} FROM (
            SELECT quarter / {BUCKETS_PER_DAY} AS {_DAY_KEY}, {_NAMES} FROM {schema}.rollups
            UNION ALL SELECT {_DAY_KEY}, {_MINUS} FROM {schema}.days
        ) AS difference GROUP BY {_DAY_KEY} HAVING {_DIFFERENT}
    """  # noqa: S608 (own names)
