"""Rebuild a damaged ledger: move it aside, and create a new one from the rows that can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from llmroute.files import Hold
from llmroute.ledger.buckets import BUCKET_MS, bucket_start_ms
from llmroute.ledger.maintenance import MissingRows, Salvage
from llmroute.ledger.sqlite.errors import translated
from llmroute.ledger.sqlite.locks import folder_held
from llmroute.ledger.sqlite.maintenance.create import free_name, new_ledger_beside, replace, tidy, unwritten
from llmroute.ledger.sqlite.recovery.damaged_labels import is_mangled
from llmroute.ledger.sqlite.recovery.missing_rows import LABELS, restored_attempt, stand_in
from llmroute.ledger.sqlite.recovery.page_reader import DatabasePages, log_of
from llmroute.ledger.sqlite.recovery.record_types import RecordType, shapes, table_of
from llmroute.ledger.sqlite.schema.migrations import migrate
from llmroute.ledger.sqlite.schema.rollups import COUNTERS, ROLLUP_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.sqlite.recovery.missing_rows import Row

# Sums are compared with what the rows make; the windows of caps are opened anew from those.
_SUMS = ("rollups", "days", "quarters", "budgets")
# Statistics, which are learned again where these tables cannot be read by name.
_MEMORY = ("latencies", "output_lengths", "reliabilities", "breakers", "retry_tokens", "cached_inputs")


def salvage(path: Path, stamp: str, now_ms: int, patience: LockTimeout) -> Salvage:
    """Replace a damaged ledger; processes that have it open notice it, and spool their rows.

    Raises:
        LedgerError: the directory takes no new ledger, or another process keeps it locked.
    """
    with (
        translated(path),
        folder_held(path.parent, Hold.ALONE, patience),
        new_ledger_beside(path) as new,
        unwritten(path, patience) as fd,
    ):
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            migrate(db)
            db.execute("DELETE FROM identity")
            rows, lost = _copy(path, fd, db, now_ms)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        aside = free_name(path, "corrupt", stamp)
        replace(path, new, aside)
    tidy(aside)
    return Salvage(aside, rows, lost)


def _copy(path: Path, fd: int, db: sqlite3.Connection, now_ms: int) -> tuple[int, MissingRows]:
    """Copy the readable rows; triggers build the sums."""
    db.execute("BEGIN IMMEDIATE")
    survived = _copy_pages(DatabasePages(fd, log_of(path)), db)
    _copy_by_name(path, db)
    _infer_pruned(survived["rollups"], db)
    _keep_pruned_sums(survived["rollups"], db)
    (rows,) = db.execute("SELECT count(*) FROM attempts").fetchone()
    lost = stand_in(db, survived, now_ms)
    db.execute("COMMIT")
    return rows, lost


def _copy_pages(pages: DatabasePages, db: sqlite3.Connection) -> dict[str, list[Row]]:
    """Copy the attempts from the pages, regardless of the schema; return the sums that were found."""
    known = shapes()
    wanted = [known[name] for name in ("attempts", "pruned", *_SUMS)]
    survived: dict[str, list[Row]] = {name: [] for name in _SUMS}
    mangled: list[Row] = []
    put = _put_attempt(known["attempts"])
    for record in pages.records():
        found = table_of(record, wanted)
        if found is None:
            continue
        table, row = found
        if table in survived:
            survived[table].append(row)
        elif table == "attempts" and is_mangled(row, LABELS):
            mangled.append(row)
        elif table == "attempts":
            _put(db, put, row)
        else:
            _put(db, _insert(table, row), row)
    for row in mangled:
        _put(db, put, restored_attempt(db, survived, row))
    if not pages.header_is_whole:
        # The pages in use are unknown: pruned rows may have come back.
        db.execute("DELETE FROM attempts WHERE started_ms < (SELECT before_ms FROM pruned) AND status <> 'pending'")
    return survived


def _copy_by_name(path: Path, db: sqlite3.Connection) -> None:
    """Copy what has other columns than any version, as far as SQLite reads it, and what calls have taught."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as old:
        old.row_factory = sqlite3.Row
        old.text_factory = lambda text: text.decode(errors="replace")
        tables = ["pruned", "identity", *_MEMORY]
        with suppress(sqlite3.Error, UnicodeError):
            if len(_names(old, "attempts")) not in shapes()["attempts"].lengths:
                tables.append("attempts")
        for table in tables:
            names = set(_names(db, table))
            with suppress(sqlite3.Error, UnicodeError):
                for values in old.execute(f"SELECT * FROM {table} NOT INDEXED"):  # noqa: S608 (own names)
                    row: Row = {name: values[name] for name in values.keys() if name in names}  # noqa: SIM118 (a Row iterates values)
                    _put(db, _insert(table, row), row)


def _names(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _infer_pruned(rollups: list[Row], db: sqlite3.Connection) -> None:
    """Count sums before the oldest row as those of pruned rows, where pruning is not recorded."""
    (oldest_ms,) = db.execute("SELECT min(started_ms) FROM attempts").fetchone()
    if oldest_ms is None or not any(_quarter(row) < oldest_ms // BUCKET_MS for row in rollups):
        return
    db.execute("INSERT OR IGNORE INTO pruned VALUES (1, ?)", (bucket_start_ms(oldest_ms),))


def _quarter(row: Row) -> int:
    quarter = row["quarter"]
    assert isinstance(quarter, int)
    return quarter


def _keep_pruned_sums(rollups: list[Row], db: sqlite3.Connection) -> None:
    """Keep the sums of pruned attempts."""
    columns = (*ROLLUP_KEY.split(", "), *COUNTERS.split(", "))
    key = " AND ".join(f"{name} = :{name}" for name in ROLLUP_KEY.split(", "))
    (before,) = db.execute(f"SELECT ifnull(max(before_ms), 0) / {BUCKET_MS} FROM pruned").fetchone()  # noqa: S608
    for row in rollups:
        if _quarter(row) < before:
            db.execute(f"DELETE FROM rollups WHERE {key}", row)  # noqa: S608 (own names)
            db.execute(_insert("rollups", dict.fromkeys(columns)), row)


def _put(db: sqlite3.Connection, insert: str, row: Row) -> None:
    with suppress(sqlite3.Error, OverflowError, UnicodeError):
        db.execute(insert, row)


def _insert(table: str, names: Row) -> str:
    return f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608


def _put_attempt(shape: RecordType) -> str:
    """Return the SQL that puts an attempt; of two versions of one row the settled one stays."""
    names = [column.name for column in shape.columns]
    return (
        f"INSERT INTO attempts ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608
        " ON CONFLICT (request_id, attempt) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in names if name != "id")
        + " WHERE attempts.status IN ('pending', 'lost') AND excluded.status <> 'pending'"
    )
