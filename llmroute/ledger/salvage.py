"""A damaged ledger: move it aside, and build a new one from what of it can still be read."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmroute.ledger.faults import translated
from llmroute.ledger.making import alone_in, beside
from llmroute.ledger.rows import COLUMNS
from llmroute.ledger.schema import migrate
from llmroute.ledger.sums import COUNTERS, ROLLUP_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What other tables hold is learned again, or built anew from the rows.
_MEMORY = ("latencies", "reliabilities", "breakers", "retry_tokens", "pruned")
_MOST_GAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Salvage:
    """Where the damaged file is now, and how many attempts came out of it."""

    aside: Path
    rows: int


def salvage(path: Path, stamp: str) -> Salvage:
    """Replace a damaged ledger; whoever has it open notices, and leaves its rows in the spool.

    Raises:
        LedgerError: the directory takes no new ledger.
    """
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
    with translated(path), alone_in(path.parent):
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as db:
                migrate(db)
                rows = _copy(path, db)
            path.rename(aside)
            for old, kept in zip(beside(path), beside(aside), strict=True):
                with suppress(FileNotFoundError):
                    old.rename(kept)
            path.hardlink_to(new)
        finally:
            for leftover in (new, *beside(new)):
                leftover.unlink(missing_ok=True)
    return Salvage(aside, rows)


def _copy(path: Path, db: sqlite3.Connection) -> int:
    """Copy what can be read; triggers build the sums."""
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.row_factory = sqlite3.Row
        old.text_factory = lambda text: text.decode(errors="replace")
        db.execute("BEGIN IMMEDIATE")
        count = 0
        for row in _attempts(old):
            told = {name: row[name] for name in row.keys() if name in COLUMNS}  # noqa: SIM118 (a Row iterates values)
            count += _put(db, "attempts", told)
        for table in _MEMORY:
            with suppress(sqlite3.Error):
                for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 (own names)
                    _put(db, table, dict(row))
        _keep_pruned_sums(old, db)
        db.execute("COMMIT")
    return count


def _keep_pruned_sums(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Keep the sums of attempts that were pruned: nothing else tells of them."""
    columns = f"{ROLLUP_KEY}, {COUNTERS}"
    with suppress(sqlite3.Error):
        for row in old.execute(
            f"SELECT {columns} FROM rollups"  # noqa: S608
            " WHERE quarter < (SELECT ifnull(max(before_ms), 0) / 900000 FROM pruned)"
        ):
            db.execute(f"INSERT OR REPLACE INTO rollups ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row))  # noqa: S608


def _put(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    names, holes = ", ".join(row), ", ".join("?" * len(row))
    try:
        return db.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({holes})", tuple(row.values())).rowcount  # noqa: S608
    except sqlite3.Error:
        return 0


def _attempts(old: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    """Yield every attempt that can be read: from the front to the damage, from the back to it, then one by one."""
    front, back = 0, None
    try:
        for row in old.execute("SELECT * FROM attempts NOT INDEXED ORDER BY id"):
            front = row["id"]
            yield row
    except sqlite3.Error:
        pass
    else:
        return
    with suppress(sqlite3.Error):
        for row in old.execute("SELECT * FROM attempts NOT INDEXED WHERE id > ? ORDER BY id DESC", (front,)):
            back = row["id"]
            yield row
    if back is None:
        return
    for gap in range(front + 1, min(back, front + _MOST_GAP)):
        with suppress(sqlite3.Error):
            yield from old.execute("SELECT * FROM attempts NOT INDEXED WHERE id = ?", (gap,)).fetchall()
