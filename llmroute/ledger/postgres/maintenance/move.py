"""Copy a SQLite ledger into a server, once: a second run goes on where the first ended."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.maintenance import Moved
from llmroute.ledger.postgres.entries import as_json
from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY
from llmroute.ledger.postgres.statistics import MERGED_AT_ONCE
from llmroute.ledger.processes import this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.postgres.connection import ServerConnection
    from llmroute.ledger.sqlite.maintenance.copies import PrunedSums
    from llmroute.ledger.sqlite.store import Ledger

BATCH = 1_000


def move(connection: ServerConnection, source: Path, now_ms: int, progress: Callable[[int, int], None]) -> Moved:
    """Copy settled attempts, the sums of pruned ones and the learned statistics; pending calls stay in the file.

    `progress` receives how many attempts were read, and how many there are to read.

    Raises:
        LedgerError: the file cannot be read, or the server cannot be written.
    """
    from llmroute.ledger.sqlite.maintenance.copies import learned, pruned_sums
    from llmroute.ledger.sqlite.store import Ledger

    name = f"{this_process().host}:{source.resolve()}"
    copied = read = 0
    with closing(Ledger(source)) as ledger:
        ledger.tend(now_ms)
        statistics = as_json(learned(ledger.db).as_json())
        last_id = connection.call("begin_move_1", name, statistics, *_pruned(pruned_sums(ledger.db)))
        total = _settled(ledger, "id > ?", last_id)
        for rows in _batches(ledger, last_id):
            sent = as_json([{column: _storable(row[column]) for column in COLUMNS} for row in rows])
            copied += connection.call("move_1", sent, name, rows[-1]["id"])
            connection.call("merge_1", MERGED_AT_ONCE)
            read += len(rows)
            progress(read, total)
        (pending,) = ledger.db.execute("SELECT count(*) FROM attempts WHERE status = 'pending'").fetchone()
        before = _settled(ledger, "id <= ?", last_id)
    return Moved(copied, before + read - copied, pending)


def _settled(ledger: Ledger, condition: str, row_id: int) -> int:
    sql = f"SELECT count(*) FROM attempts WHERE status <> 'pending' AND {condition}"  # noqa: S608 (own words)
    (count,) = ledger.db.execute(sql, (row_id,)).fetchone()
    return int(count)


def _batches(ledger: Ledger, last_id: int) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield settled attempts in order of their ids."""
    columns = ("id", *COLUMNS)
    sql = f"SELECT {', '.join(columns)} FROM attempts WHERE id > ? AND status <> 'pending' ORDER BY id LIMIT {BATCH}"  # noqa: S608
    while rows := ledger.db.execute(sql, (last_id,)).fetchall():
        yield [dict(zip(columns, row, strict=True)) for row in rows]
        last_id = rows[-1][0]


def _pruned(sums: PrunedSums) -> tuple[int, str]:
    """Return before when attempts were deleted, and their sums as records of the rollups."""
    names = (*ROLLUP_KEY, *COUNTERS)
    return sums.before_ms, as_json([dict(zip(names, map(_storable, row), strict=True)) for row in sums.rows])


def _storable(value: Any) -> Any:
    """Return a value that the server takes: text there holds no NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
