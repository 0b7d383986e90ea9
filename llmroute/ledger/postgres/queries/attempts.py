"""Select the rows of attempts, with the columns of the SQLite ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from llmroute.ledger.port import AttemptFilter

_CONDITIONS: Final = {
    "since_ms": "started_ms >= %(since_ms)s",
    "until_ms": "started_ms < %(until_ms)s",
    "model": "%(model)s IN (model, provider || '/' || model)",
    "status": "status = %(status)s",
    "workspace": "coalesce(workspace, '') = %(workspace)s",
    "execution": "coalesce(execution, '') = %(execution)s",
}
# The same double as in SQLite.
_USD = "cost_picousd::float8 / 1e12::float8 AS cost_usd"
_FETCHED_AT_ONCE = 1_000


def attempts(db: Connection, schema: str, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
    """Yield attempts by column, oldest first; call it in a transaction."""
    sql = f"SELECT {selected(db, schema)} FROM {schema}.attempts{_where(wanted)} ORDER BY started_ms, id"  # noqa: S608
    with db.cursor(name="llmroute_attempts", row_factory=dict_row) as cursor:
        cursor.itersize = _FETCHED_AT_ONCE
        cursor.execute(sql.encode(), asdict(wanted))
        yield from cursor


def last_attempts(db: Connection, schema: str, last: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
    """Return the last attempts, pending ones included, oldest first."""
    sql = (
        f"SELECT {selected(db, schema)} FROM {schema}.attempts{_where(wanted)}"  # noqa: S608 (own names)
        " ORDER BY started_ms DESC, id DESC LIMIT %(last)s"
    )
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.encode(), {**asdict(wanted), "last": last}).fetchall()[::-1]


def attempts_after(db: Connection, schema: str, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
    """Return the first attempts, by id, that were recorded after an id, pending ones included."""
    where = _where(wanted) or " WHERE true"
    sql = f"SELECT {selected(db, schema)} FROM {schema}.attempts{where} AND id > %(row_id)s ORDER BY id LIMIT %(most)s"  # noqa: S608
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.encode(), {**asdict(wanted), "row_id": row_id, "most": most}).fetchall()


def attempt_columns(db: Connection, schema: str) -> list[str]:
    """Return the names of the columns of `attempts`, and of the cost in USD after that in pico-USD."""
    description = db.execute(f"SELECT * FROM {schema}.attempts LIMIT 0".encode()).description or []  # noqa: S608
    names = [column.name for column in description]
    names.insert(names.index("cost_picousd") + 1, "cost_usd")
    return names


def selected(db: Connection, schema: str) -> str:
    """Return the columns of `attempts` as they are selected, with the cost in USD."""
    return ", ".join(_USD if name == "cost_usd" else name for name in attempt_columns(db, schema))


def _where(wanted: AttemptFilter) -> str:
    conditions = [condition for name, condition in _CONDITIONS.items() if getattr(wanted, name) is not None]
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
