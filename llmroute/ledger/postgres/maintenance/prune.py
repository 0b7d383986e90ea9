"""Delete old rows: whole months at once, the rest in short transactions."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger.buckets import bucket_start_ms

if TYPE_CHECKING:
    from llmroute.ledger.postgres.connection import ServerConnection

BATCH = 1_000
# How long a month that is dropped may wait for others, and others for it.
_LOCK_TIMEOUT_MS = 500

# A trigger keeps the lost attempts that are deleted, but not those of a partition that is dropped; an index has them.
_KEEP_LOST = """
INSERT INTO {schema}.late_attempts
SELECT request_id, attempt, started_ms, to_jsonb(gone) FROM {table} AS gone
WHERE status = 'lost' AND cost_basis IN ('estimated', 'at_most', 'at_least') AND corrected_ms IS NULL
ON CONFLICT (request_id, attempt, started_ms) DO UPDATE SET lost = excluded.lost
"""
# Partitions whose end is not after a time, oldest first.
_MONTHS = """
SELECT partition.relname FROM pg_inherits
JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = %s::regclass
    AND (regexp_match(pg_get_expr(partition.relpartbound, partition.oid), 'TO \\(''(-?\\d+)''\\)'))[1]::bigint <= %s
    AND pg_has_role(partition.relowner, 'USAGE')
ORDER BY partition.relname
"""


def prunable(connection: ServerConnection, before_ms: int) -> int:
    """Return how many attempts `prune` would delete.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    sql = f"SELECT count(*) FROM {connection.schema}.attempts WHERE started_ms < %s AND status <> 'pending'"  # noqa: S608
    with connection.transaction(read_only=True) as db:
        row = db.execute(sql.encode(), (bucket_start_ms(before_ms),)).fetchone()
    return int(row[0]) if row else 0


def prune(connection: ServerConnection, before_ms: int) -> int:
    """Delete settled attempts that started before a time; return how many.

    Their sums stay in the rollups.  The time is rounded down to a bucket.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    before_ms = bucket_start_ms(before_ms)
    schema = connection.schema
    with connection.transaction() as db:
        db.execute(
            f"""
            INSERT INTO {schema}.pruned AS known VALUES (1, %s)
            ON CONFLICT (id) DO UPDATE SET before_ms = greatest(known.before_ms, excluded.before_ms)
            """.encode(),  # noqa: S608 (own names)
            (before_ms,),
        )
        months = [name for (name,) in db.execute(_MONTHS.encode(), (f"{schema}.attempts", before_ms))]
    return sum(_drop(connection, month) for month in months) + _delete(connection, before_ms)


def _drop(connection: ServerConnection, month: str) -> int:
    """Drop a month; return its attempts, 0 with nothing dropped where some are pending or others use it.

    Its rows are counted before it is locked, which keeps every other call waiting.
    """
    table = f'{connection.schema}."{month}"'
    try:
        with connection.transaction(read_only=True) as db:
            row = db.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 (own names)
        assert row is not None
        (count,) = row
        with connection.transaction() as db:
            db.execute("SELECT set_config('lock_timeout', %s, true)", (str(_LOCK_TIMEOUT_MS),))
            # In the order of writers: the table, then its month.
            db.execute(f"LOCK TABLE ONLY {connection.schema}.attempts IN ACCESS EXCLUSIVE MODE".encode())
            db.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            pending = f"SELECT 1 FROM {table} WHERE status = 'pending' LIMIT 1"  # noqa: S608 (own names)
            if db.execute(pending.encode()).fetchone() is not None:
                return 0
            db.execute(_KEEP_LOST.format(schema=connection.schema, table=table).encode())
            db.execute(f"DROP TABLE {table}".encode())
    except LedgerError as error:
        if not error.locked:
            raise
        return 0
    return int(count)


def _delete(connection: ServerConnection, before_ms: int) -> int:
    schema = connection.schema
    sql = f"""
        DELETE FROM {schema}.attempts WHERE (request_id, attempt, started_ms) IN (
            SELECT request_id, attempt, started_ms FROM {schema}.attempts
            WHERE started_ms < %s AND status <> 'pending' LIMIT {BATCH} FOR UPDATE SKIP LOCKED
        ) AND started_ms < %s
    """  # noqa: S608 (own names)
    count = 0
    while True:
        started_s = monotonic()
        with connection.transaction() as db:
            deleted = db.execute(sql.encode(), (before_ms, before_ms)).rowcount
        count += deleted
        if deleted < BATCH:
            return count
        # Leave the server to others for as long.
        sleep(monotonic() - started_s)
