"""Copy the journal of batch jobs from a SQLite ledger into a server, and back into a SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.jobs import Job, JobLine, SchemaOfLines
from llmroute.ledger.postgres.entries import as_json
from llmroute.ledger.processes import this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from llmroute.ledger.jobs import JobJournal
    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.sqlite.maintenance.copies import NewLedger

_AT_ONCE = 1_000
_LAST = 2**62
_TABLES = {"jobs": Job._fields, "job_lines": ("job", *JobLine._fields), "job_schemas": ("job", *SchemaOfLines._fields)}


def move_jobs(connection: ServerConnection, journal: JobJournal) -> int:
    """Copy delivered jobs, each once; return how many others stay where their reservations are.

    Raises:
        LedgerError: the journal cannot be read, or the server cannot be written.
    """
    jobs = journal.jobs()
    delivered = [job for job in jobs if job.delivered_ms is not None]
    for job in delivered:
        # A ledger that was rebuilt after damage may have fewer than it counts.
        lines = journal.lines(job.id, 0, _LAST)
        for first in range(0, len(lines), _AT_ONCE):
            rows = [{"job": job.id, **line._asdict()} for line in lines[first : first + _AT_ONCE]]
            _add(connection, "job_lines", rows)
        # The job comes last: one that is there has all its lines.
        _add(connection, "jobs", [job._replace(host=job.host or this_process().host)._asdict()])
    return len(jobs) - len(delivered)


def _add(connection: ServerConnection, table: str, rows: list[dict[str, Any]]) -> None:
    named = f"{connection.schema}.{table}"
    sql = f"INSERT INTO {named} SELECT * FROM jsonb_populate_recordset(NULL::{named}, %s) ON CONFLICT DO NOTHING"  # noqa: S608
    connection.execute(sql, (as_json(rows),))


def copy_jobs(db: Connection, schema: str, copy: NewLedger) -> None:
    """Copy the journal into a new SQLite ledger; call it in a transaction.

    Raises:
        LedgerError: the copy cannot be written.
    """
    for table, columns in _TABLES.items():
        copy.add_rows(table, columns, _rows(db, f"SELECT {', '.join(columns)} FROM {schema}.{table}"))  # noqa: S608


def _rows(db: Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    with db.cursor(name="llmroute_jobs") as cursor:
        cursor.execute(sql.encode())
        yield from cursor
