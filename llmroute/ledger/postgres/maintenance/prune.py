"""Delete old rows: whole months at once, the rest in short transactions."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger.buckets import bucket_start_ms
from llmroute.ledger.postgres.errors import is_missing

if TYPE_CHECKING:
    from llmroute.ledger.postgres.connection import ServerConnection

BATCH = 1_000
# How long a month that is dropped may wait for others, and others for it.
_LOCK_TIMEOUT_MS = 500

# Those that a trigger of `late_attempts` keeps when they are deleted, as an index has them.
_LOST = "status = 'lost' AND cost_basis IN ('estimated', 'at_most', 'at_least') AND corrected_ms IS NULL"
# Partitions whose end is not after a time, oldest first.
_MONTHS = """
SELECT partition.relname FROM pg_inherits
JOIN pg_class AS partition ON partition.oid = inhrelid
WHERE inhparent = %s::regclass
    AND (regexp_match(pg_get_expr(partition.relpartbound, partition.oid), 'TO [(]''(-?[0-9]+)''[)]'))[1]::bigint <= %s
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
        # Writes that do not know the time end before rows are deleted; later writes see it.
        db.execute(f"LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE".encode())
        db.execute(
            f"""
            INSERT INTO {schema}.pruned AS known VALUES (1, %s)
            ON CONFLICT (id) DO UPDATE SET before_ms = greatest(known.before_ms, excluded.before_ms)
            """.encode(),  # noqa: S608 (own names)
            (before_ms,),
        )
        months = [name for (name,) in db.execute(_MONTHS.encode(), (f"{schema}.attempts", before_ms))]
    lost = _delete(connection, before_ms, _LOST)
    return lost + sum(_drop(connection, month) for month in months) + _delete(connection, before_ms)


def _drop(connection: ServerConnection, month: str) -> int:
    """Drop a month; return its attempts, 0 with nothing dropped where rows are pending or lost, or others use it.

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
            for kept in ("status = 'pending'", _LOST):
                if db.execute(f"SELECT 1 FROM {table} WHERE {kept} LIMIT 1".encode()).fetchone() is not None:  # noqa: S608
                    return 0
            db.execute(f"DROP TABLE {table}".encode())
    except LedgerError as error:
        # Another process may have dropped it.
        if not error.locked and not is_missing(error.__cause__):
            raise
        return 0
    return int(count)


def _delete(connection: ServerConnection, before_ms: int, condition: str = "status <> 'pending'") -> int:
    """Delete the attempts under a condition that started before a time, oldest first; return how many."""
    schema = connection.schema
    sql = f"""
        DELETE FROM {schema}.attempts WHERE (request_id, attempt, started_ms) IN (
            SELECT request_id, attempt, started_ms FROM {schema}.attempts
            WHERE started_ms >= %(first_ms)s AND started_ms < %(before_ms)s AND {condition}
            ORDER BY started_ms LIMIT {BATCH} FOR UPDATE SKIP LOCKED
        ) AND started_ms >= %(first_ms)s AND started_ms < %(before_ms)s RETURNING started_ms
    """  # noqa: S608 (own names)
    count = first_ms = 0
    while True:
        started_s = monotonic()
        with connection.transaction() as db:
            deleted = db.execute(sql.encode(), {"first_ms": first_ms, "before_ms": before_ms}).fetchall()
        count += len(deleted)
        if len(deleted) < BATCH:
            return count
        # The index still has those that were deleted: do not read them again.
        first_ms = max(ms for (ms,) in deleted)
        # Leave the server to others for as long.
        sleep(monotonic() - started_s)
