"""Copy a SQLite ledger into a server, once: a second run continues the first."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.maintenance import Moved, UntakenCalls
from llmroute.ledger.postgres.entries import as_json, storable
from llmroute.ledger.postgres.maintenance.move_jobs import move_jobs
from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY
from llmroute.ledger.postgres.statistics import merge

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.sqlite.maintenance.copies import PrunedSums

BATCH = 1_000
# A later settling or correction may change the status of a call.
_CALLS = ", ".join(name for name in ROLLUP_KEY if name != "status")
_UNTAKEN = f"""
WITH ours AS (
    SELECT {_CALLS}, sum(call_count) AS count, sum(cost_picousd) AS picousd
    FROM jsonb_populate_recordset(NULL::{{schema}}.rollups, %(sums)s) GROUP BY {_CALLS}
), known AS (
    SELECT {_CALLS}, sum(call_count) AS count FROM {{schema}}.moved_sums
    WHERE source = %(source)s AND quarter < %(before)s GROUP BY {_CALLS}
)
SELECT coalesce(sum(ours.count), 0)::bigint, coalesce(sum(picousd), 0)::bigint
FROM ours JOIN known USING ({_CALLS}) WHERE ours.count <> known.count
"""  # noqa: S608 (own names)


def move(connection: ServerConnection, source: Path, now_ms: int, progress: Callable[[int, int], None]) -> Moved:
    """Copy settled attempts, the sums of pruned ones, the learned statistics and delivered batch jobs.

    Pending calls and other batch jobs stay in the file.

    `progress` receives how many attempts were read, and how many there are to read.

    Raises:
        LedgerError: the file cannot be read, or the server cannot be written.
    """
    from llmroute.ledger.sqlite.maintenance.copies import identity, sums_before
    from llmroute.ledger.sqlite.observations import learned
    from llmroute.ledger.sqlite.store import Ledger

    connection.require_client()
    copied = pending = read = 0
    with closing(Ledger(source)) as ledger:
        ledger.tend(now_ms)
        ledger.fill_sums()
        name = identity(ledger.db)
        with ledger.connection.reading() as db:
            begun = connection.call_at_length("begin_move_1", name, as_json(learned(db).as_json()))
            since = _Start(_resumed_id(db, begun), begun["pruned_ms"])
            total = _settled(db, since)
            for batch in _batches(db, since):
                pending += batch.pending
                if batch.rows:
                    sent = as_json([storable({column: row[column] for column in COLUMNS}) for row in batch.rows])
                    copied += connection.call_at_length("move_1", sent, name, batch.last_id, batch.last_call)
                    merge(connection)
                    read += len(batch.rows)
                    progress(read, total)
            untaken = _end(connection, name, sums_before(db, begun["pruned_ms"]), begun["pruned_ms"])
            merge(connection)
            already = _settled(db, _Start(0, 0)) - copied
        return Moved(copied, already, pending, move_jobs(connection, ledger.jobs), untaken)


class _Start(NamedTuple):
    """The rows that are read: with higher ids, and that started at a time or later."""

    last_id: int
    since_ms: int


class _Batch(NamedTuple):
    """Settled rows in order, how many pending ones are between them, and the last one before any pending one."""

    rows: Sequence[dict[str, Any]]
    pending: int
    last_id: int | None
    last_call: str | None


def _resumed_id(db: sqlite3.Connection, begun: dict[str, Any]) -> int:
    """Return the id after which rows are copied: 0 where another copy of this ledger was moved before."""
    row = db.execute("SELECT request_id, attempt FROM attempts WHERE id = ?", (begun["last_id"],)).fetchone()
    return int(begun["last_id"]) if row is not None and _call(*row) == begun["last_call"] else 0


def _settled(db: sqlite3.Connection, since: _Start) -> int:
    sql = "SELECT count(*) FROM attempts WHERE status <> 'pending' AND id > ? AND started_ms >= ?"
    (count,) = db.execute(sql, since).fetchone()
    return int(count)


def _batches(db: sqlite3.Connection, since: _Start) -> Iterator[_Batch]:
    """Yield attempts in order of their ids; those that started before the server was pruned are in its sums only."""
    columns = ("id", *COLUMNS)
    sql = f"SELECT {', '.join(columns)} FROM attempts WHERE id > ? AND started_ms >= ? ORDER BY id LIMIT {BATCH}"  # noqa: S608
    last_id, passed = since.last_id, True
    while found := db.execute(sql, (last_id, since.since_ms)).fetchall():
        rows = [dict(zip(columns, row, strict=True)) for row in found]
        settled = [row for row in rows if row["status"] != "pending"]
        last = None
        for row in rows:
            passed = passed and row["status"] != "pending"
            last = row if passed else last
        yield _Batch(
            settled,
            len(rows) - len(settled),
            None if last is None else last["id"],
            None if last is None else _call(last["request_id"], last["attempt"]),
        )
        last_id = rows[-1]["id"]


def _call(request_id: str, attempt: int) -> str:
    return f"{storable({'id': request_id})['id']}/{attempt}"


def _end(connection: ServerConnection, name: str, sums: PrunedSums, server_pruned_ms: int) -> UntakenCalls:
    """Add the sums of rows that were deleted, here or on the server, before they were copied."""
    pruned_ms = max(sums.before_ms, server_pruned_ms)
    if not pruned_ms:
        return UntakenCalls(0, 0)
    names, before = (*ROLLUP_KEY, *COUNTERS), -(-pruned_ms // BUCKET_MS)
    rows = as_json([storable(dict(zip(names, row, strict=True))) for row in sums.rows])
    connection.call_at_length("end_move_1", name, sums.before_ms, rows, before)
    with connection.transaction(read_only=True) as db:
        sql = _UNTAKEN.format(schema=connection.schema)
        (untaken,) = db.execute(sql.encode(), {"sums": rows, "source": name, "before": before}).fetchall()
    return UntakenCalls(*untaken)
