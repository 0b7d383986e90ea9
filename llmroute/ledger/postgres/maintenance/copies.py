"""Copy the ledger into a SQLite file, which every llmroute can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.postgres.maintenance.move_jobs import copy_jobs
from llmroute.ledger.postgres.queries.attempts import attempts
from llmroute.ledger.postgres.queries.sums import all_sums, of_rows
from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.sqlite.maintenance.copies import PrunedSums


def backup(connection: ServerConnection, target: Path) -> None:
    """Copy the ledger into a new SQLite file, as it was at one moment, also while others write.

    Raises:
        RequestError: the target exists, or its folder does not.
        OutputError: the target cannot be written.
        LedgerError: the ledger cannot be read.
    """
    from llmroute.ledger.sqlite.maintenance.copies import new_ledger

    schema = connection.schema
    with new_ledger(target) as copy, connection.transaction(read_only=True) as db:
        (ledger,) = db.execute(f"SELECT ledger FROM {schema}.identity".encode()).fetchone() or ("",)  # noqa: S608 (own name)
        copy.add(ledger, attempts(db, schema, AttemptFilter()), pruned_sums(db, schema))
        copy_jobs(db, schema, copy)


def pruned_sums(db: Connection, schema: str) -> PrunedSums:
    """Return the sums without rows: all of the pruned time, minus the sums of the remaining rows."""
    from llmroute.ledger.sqlite.maintenance.copies import PrunedSums

    row = db.execute(f"SELECT before_ms FROM {schema}.pruned".encode()).fetchone()  # noqa: S608 (own name)
    if row is None:
        return PrunedSums(0, [])
    whole = -(-row[0] // BUCKET_MS)
    key = ", ".join(ROLLUP_KEY)
    sql = f"""
        SELECT {key}, {", ".join(f"sum({name})" for name in COUNTERS)} FROM (
            SELECT {key}, {", ".join(COUNTERS)} FROM {all_sums(schema)} WHERE quarter < %(whole)s
            UNION ALL
            SELECT {key}, {", ".join(f"-{name}" for name in COUNTERS)}
            FROM {of_rows(schema, f"started_ms < %(whole)s::bigint * {BUCKET_MS}")}
        ) AS difference GROUP BY {key} HAVING sum(call_count) <> 0
    """  # noqa: S608 (own names)
    split = len(ROLLUP_KEY)
    rows = db.execute(sql.encode(), {"whole": whole}).fetchall()
    return PrunedSums(row[0], [(*values[:split], *map(int, values[split:])) for values in rows])
