"""Generate ledgers of any size on a PostgreSQL server, with bulk inserts.

The sums that a trigger appends for each row are computed for all rows at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.buckets import BUCKETS_PER_DAY
from llmroute.ledger.postgres.queries.sums import of_rows
from llmroute.ledger.postgres.schema.tables import COARSE, COUNTERS, ROLLUP_KEY
from llmroute.ledger.postgres.store import PostgresLedger
from tests.bench.ledger_generator import CHUNK, SPAN_MS, rows

if TYPE_CHECKING:
    from psycopg import Connection

    from llmroute.ledger_location import ServerAddress

_NAMES = ", ".join(COLUMNS)
# The rows of the first chunk, again and again, each time later.
_LATER = {
    "request_id": "request_id || '-' || {number}",
    "started_ms": "started_ms + {number}::bigint * {step_ms}",
    "settled_ms": "settled_ms + {number}::bigint * {step_ms}",
}
_REPEATED = ", ".join(_LATER.get(name, name) for name in COLUMNS)


def write(address: ServerAddress, attempts: int, now_ms: int) -> None:
    """Write a ledger with `attempts` settled attempts, spread evenly over the two years before `now_ms`."""
    with PostgresLedger(address, Path("unused")) as ledger, ledger.connection.transaction() as db:
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("SET LOCAL work_mem = '256MB'")
        _make_months(db, now_ms)
        _insert(db, attempts, now_ms)
        _sum(db)
    with PostgresLedger(address, Path("unused")) as ledger:
        ledger.connection.run(lambda db: db.execute("ANALYZE"), within_s=3_600)


def _make_months(db: Connection, now_ms: int) -> None:
    """Make the partitions, with a day to spare on both sides."""
    for day in range(-1, SPAN_MS // 86_400_000 + 2):
        db.execute("SELECT llmroute.require_month_1(%s)", (now_ms - SPAN_MS + day * 86_400_000,))


def _insert(db: Connection, attempts: int, now_ms: int) -> None:
    chunk = min(attempts, CHUNK)
    db.execute("CREATE TEMP TABLE chunk (LIKE llmroute.attempts INCLUDING DEFAULTS) ON COMMIT DROP")
    with db.cursor().copy(f"COPY chunk ({_NAMES}) FROM STDIN".encode()) as copy:
        for row in rows(0, attempts, now_ms):
            row.streaming = int(row.streaming)  # type: ignore[assignment]
            copy.write_row(row.values())
    for number in range(attempts // chunk):
        repeated = _REPEATED.format(number=number, step_ms=SPAN_MS * chunk // attempts)
        db.execute(f"INSERT INTO llmroute.attempts ({_NAMES}) SELECT {repeated} FROM chunk".encode())


def _sum(db: Connection) -> None:
    sums = ", ".join(f"sum({name})" for name in COUNTERS)
    key = ", ".join(ROLLUP_KEY)
    table = of_rows("llmroute", "true")
    db.execute(f"INSERT INTO llmroute.rollups SELECT {key}, {sums} FROM {table} GROUP BY {key}".encode())
    summed = f"(SELECT quarter / {BUCKETS_PER_DAY} AS day, * FROM llmroute.rollups) AS summed"
    for name, columns in COARSE.items():
        names = ", ".join(columns)
        db.execute(f"INSERT INTO llmroute.{name} SELECT {names}, {sums} FROM {summed} GROUP BY {names}".encode())
