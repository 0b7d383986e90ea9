"""Select attempts with all their columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlite_utils import Database

from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.sqlite.schema import backfill
from llmroute.ledger.sqlite.schema.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


_LAST = "SELECT * FROM attempts{where} ORDER BY started_ms DESC, id DESC LIMIT :last"
# Settled attempts are found by way of the buckets in which their workspace had any.
_LAST_OF_WORKSPACE = f"""
    SELECT * FROM (
        SELECT attempts.* FROM quarters AS busy CROSS JOIN attempts
            ON started_ms >= busy.quarter * {BUCKET_MS} AND started_ms < (busy.quarter + 1) * {BUCKET_MS}
            AND ifnull(attempts.workspace, '') = busy.workspace AND attempts.status = busy.status
        WHERE busy.workspace = :workspace ORDER BY busy.quarter DESC, started_ms DESC, id DESC LIMIT :last
    )
    UNION ALL SELECT * FROM attempts WHERE ifnull(workspace, '') = :workspace AND status = 'pending'
    ORDER BY started_ms DESC, id DESC LIMIT :last
"""  # noqa: S608 (own names)


_CONDITIONS: Final = {
    "since_ms": "started_ms >= :since_ms",
    "until_ms": "started_ms < :until_ms",
    "model": ":model IN (model, provider || '/' || model)",
    "status": "status = :status",
    "workspace": "ifnull(workspace, '') = :workspace",
    "execution": "ifnull(execution, '') = :execution",
}


def _where(wanted: AttemptFilter) -> str:
    """Return the WHERE clause of a filter, whose parameters are named as its fields."""
    conditions = [condition for name, condition in _CONDITIONS.items() if getattr(wanted, name) is not None]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def attempts(db: sqlite3.Connection, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
    """Yield attempts by column, oldest first."""
    # In the order of the index, so that nothing is kept for sorting, however many there are.
    sql = f"SELECT * FROM attempts{_where(wanted)} ORDER BY started_ms, id"  # noqa: S608 (own names)
    return Database(db).query(sql, asdict(wanted))


def last_attempts(db: sqlite3.Connection, last: int, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
    """Yield the last attempts, pending ones included, oldest first."""
    if wanted == AttemptFilter(workspace=wanted.workspace) != AttemptFilter() and not backfill.lacking(db):
        newest = _LAST_OF_WORKSPACE
    else:
        newest = _LAST.format(where=_where(wanted))
    sql = f"SELECT * FROM ({newest}) ORDER BY started_ms, id"  # noqa: S608 (own names)
    return Database(db).query(sql, {**asdict(wanted), "last": last})


def attempts_after(db: sqlite3.Connection, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
    """Return the first attempts, by id, that were recorded after an id, pending ones included."""
    where = _where(wanted) or " WHERE true"
    sql = f"SELECT * FROM attempts{where} AND id > :row_id ORDER BY id LIMIT :most"  # noqa: S608 (own names)
    return list(Database(db).query(sql, {**asdict(wanted), "row_id": row_id, "most": most}))


def attempt_columns(db: sqlite3.Connection) -> list[str]:
    """Return the names of the columns of `attempts`."""
    return [column[0] for column in db.execute("SELECT * FROM attempts LIMIT 0").description]


def columns_without_ledger() -> list[str]:
    """Return the names of the columns of `attempts` in a new ledger."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        return attempt_columns(db)
