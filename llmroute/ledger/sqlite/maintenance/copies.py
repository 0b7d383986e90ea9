"""Write a SQLite ledger from the rows of another store, and read one for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.sqlite.maintenance.prune import new_file
from llmroute.ledger.sqlite.schema.rollups import COUNTERS, ROLLUP_KEY
from llmroute.ledger.sqlite.store import Ledger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_NAMES = COUNTERS.split(", ")
_IN_ONE_TRANSACTION = 1_000
_INSERT = f"INSERT INTO attempts (id, {', '.join(COLUMNS)}) VALUES (:id, {', '.join(f':{name}' for name in COLUMNS)})"  # noqa: S608
_ADD = (
    f"INSERT INTO rollups ({ROLLUP_KEY}, {COUNTERS}) VALUES ({', '.join('?' * (7 + len(_NAMES)))})"  # noqa: S608
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in _NAMES)}"
)


class PrunedSums(NamedTuple):
    """Sums of time in which attempts are deleted: those that started before `before_ms`, 0 where none are.

    `rows` are rollups, in the order of `schema.rollups.ROLLUP_KEY` and `COUNTERS`.
    """

    before_ms: int
    rows: list[tuple[Any, ...]]


@contextmanager
def new_ledger(target: Path) -> Iterator[NewLedger]:
    """Write a ledger that appears at `target`, without files beside it, when the block ends without an error.

    Raises:
        RequestError: the target exists, or its folder does not.
        OutputError: the target cannot be written.
        LedgerError: a row does not fit.
    """
    with new_file(target) as new, Ledger(new) as ledger:
        yield NewLedger(ledger.db)
        ledger.db.execute("PRAGMA journal_mode = DELETE")


class NewLedger:
    """A SQLite ledger that is being written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, ledger: str, attempts: Iterable[dict[str, Any]], pruned: PrunedSums) -> None:
        """Add attempts of a ledger, by its identity, with their ids and the sums of pruned ones.

        Triggers add up the sums of attempts.
        """
        self._db.execute("BEGIN")
        self._db.execute("UPDATE identity SET ledger = ?", (ledger,))
        for number, row in enumerate(attempts, 1):
            self._db.execute(_INSERT, row)
            if number % _IN_ONE_TRANSACTION == 0:
                self._db.execute("COMMIT")
                self._db.execute("BEGIN")
        if pruned.before_ms:
            self._db.execute("INSERT INTO pruned VALUES (1, ?)", (pruned.before_ms,))
            self._db.executemany(_ADD, pruned.rows)
        self._db.execute("COMMIT")

    def add_rows(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows to a table that no sums depend on."""
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        self._db.execute("BEGIN")
        self._db.executemany(insert, rows)
        self._db.execute("COMMIT")


def identity(db: sqlite3.Connection) -> str:
    """Return the identity that a ledger shares with its copies; a new one if a rebuilt ledger has lost it."""
    db.execute("INSERT OR IGNORE INTO identity VALUES (1, hex(randomblob(16)))")
    (ledger,) = db.execute("SELECT ledger FROM identity").fetchone()
    return str(ledger)


def sums_before(db: sqlite3.Connection, before_ms: int) -> PrunedSums:
    """Return the sums of all attempts before a time, or before when attempts were deleted if that is later."""
    (pruned_ms,) = db.execute("SELECT ifnull(max(before_ms), 0) FROM pruned").fetchone()
    whole = -(-max(pruned_ms, before_ms) // BUCKET_MS)
    rows = db.execute(f"SELECT {ROLLUP_KEY}, {COUNTERS} FROM rollups WHERE quarter < ?", (whole,))  # noqa: S608 (own names)
    return PrunedSums(pruned_ms, rows.fetchall())
