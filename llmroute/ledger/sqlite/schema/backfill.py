"""Fill the coarse tables, and the newest counter of the rollups, for the time before their triggers existed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, DAY_MS, NEVER_DAY
from llmroute.ledger.sqlite.schema.rollups import COARSE, COUNTERS, ROLLUP_KEY, ROLLUP_OF_ROW

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.sqlite.shared_connection import SharedConnection

# Days summed in one transaction, to limit the time that the ledger is locked.
DAYS_AT_ONCE = 7

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in COUNTERS.split(", "))
# The day from which on the coarse tables are complete; NEVER_DAY where that is unknown.
SINCE_DAY = f"ifnull((SELECT since_day FROM coarse), {NEVER_DAY})"  # noqa: S608 (own names)
SINCE_BUCKET = f"{SINCE_DAY} * {BUCKETS_PER_DAY}"
_SET_SINCE_DAY = "INSERT OR REPLACE INTO coarse VALUES (1, ?)"

# The rows of each table between two days.
_OF_QUARTERS = f"quarter >= :first * {BUCKETS_PER_DAY} AND quarter < :end * {BUCKETS_PER_DAY}"
SPANS = {table: _OF_QUARTERS if table == "quarters" else "day >= :first AND day < :end" for table in COARSE}
# Rollups of before migration 16 lack what caches saved; that of pruned attempts is unknown.
_FILL_SAVED = f"""
    UPDATE rollups SET cache_saved_picousd = made.saved FROM (
        SELECT {ROLLUP_KEY}, sum(cache_saved_picousd) AS saved FROM (
            {ROLLUP_OF_ROW} AND (cached_input_tokens > 0 OR cache_write_tokens > 0)
            AND started_ms >= max(:first * {DAY_MS}, ifnull((
                SELECT (before_ms + {BUCKET_MS - 1}) / {BUCKET_MS} * {BUCKET_MS} FROM pruned
            ), 0)) AND started_ms < :end * {DAY_MS}
        ) GROUP BY {ROLLUP_KEY}
    ) AS made
    WHERE {" AND ".join(f"rollups.{name} = made.{name}" for name in ROLLUP_KEY.split(", "))}
        AND rollups.cache_saved_picousd <> made.saved
"""  # noqa: S608 (own names)


def of_rollups(table: str) -> str:
    """Return the SQL that sums the rollups from day `:first` to before day `:end` by the keys of `table`."""
    key = COARSE[table].format(row="")
    names = ", ".join(word.rpartition(" ")[2] for word in key.split(", "))
    return (
        f"SELECT {key}, {_SUMS} FROM rollups WHERE {SPANS['quarters']}"  # noqa: S608 (own names)
        f" GROUP BY {names}"
    )


def fill(connection: SharedConnection) -> None:
    """Sum the days that the coarse tables lack, newest first, in short transactions.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    while True:
        with connection.reading() as db:
            if not lacking(db):
                return
        with connection.transaction() as db:
            _sum_days(db)
        connection.renew_patience()


def forget(db: sqlite3.Connection) -> None:
    """Empty the coarse tables for the next `fill`, in the open transaction."""
    for table in COARSE:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 (own names)
    db.execute(_SET_SINCE_DAY, (NEVER_DAY,))


def lacking(db: sqlite3.Connection) -> bool:
    """Whether the coarse tables lack days."""
    return bool(db.execute(f"SELECT {SINCE_DAY} > 0").fetchone()[0])


def _sum_days(db: sqlite3.Connection) -> None:
    (since_day,) = db.execute(f"SELECT {SINCE_DAY}").fetchone()
    before = since_day
    (last,) = db.execute("SELECT max(quarter) FROM rollups WHERE quarter < ?", (before * BUCKETS_PER_DAY,)).fetchone()
    if last is None:
        db.execute(_SET_SINCE_DAY, (0,))
        return
    first = last // BUCKETS_PER_DAY - DAYS_AT_ONCE + 1
    span = {"first": first, "end": min(before, last // BUCKETS_PER_DAY + 1)}
    db.execute(_FILL_SAVED, span)
    span["end"] = before
    for table, within in SPANS.items():
        db.execute(f"DELETE FROM {table} WHERE {within}", span)  # noqa: S608 (own names)
        db.execute(f"INSERT INTO {table} {of_rollups(table)}", span)
    db.execute(_SET_SINCE_DAY, (first,))
