"""Check the ledger: its file, its sums against its rows, its reservations and its spool."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, DAY_MS
from llmroute.ledger.budgets import Cap
from llmroute.ledger.maintenance import COARSE_NAMES, CheckReport
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.connection import connected_in_turn
from llmroute.ledger.sqlite.errors import translated
from llmroute.ledger.sqlite.maintenance.create import is_emptied
from llmroute.ledger.sqlite.maintenance.orphans import dead_rows
from llmroute.ledger.sqlite.schema.backfill import SINCE_DAY, SPANS, of_rollups
from llmroute.ledger.sqlite.schema.expected_schema import differences
from llmroute.ledger.sqlite.schema.migrations import is_current, require_sqlite
from llmroute.ledger.sqlite.schema.rollups import COARSE, COUNTERS, ROLLUP_KEY, ROLLUP_OF_ROW
from llmroute.ledger.sqlite.store import Ledger
from llmroute.text.plural import many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.sqlite.connection import Connect

MOST_WORDS = 3
# SQLite reports a missing table as SQLITE_ERROR.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

# Days compared or summed in one step, to limit memory and the time that the ledger is locked.
DAYS_AT_ONCE = 1

_KEPT = (
    f"SELECT {ROLLUP_KEY}, {COUNTERS} FROM rollups"  # noqa: S608 (own names)
    f" WHERE {SPANS['quarters']} AND quarter >= :from AND call_count <> 0"
)
_SUMS = ", ".join(f"sum({name})" for name in COUNTERS.split(", "))
FROM_ROWS = f"""
    SELECT {ROLLUP_KEY}, {_SUMS} FROM (
        {ROLLUP_OF_ROW}
        AND started_ms >= max(:first * {DAY_MS}, :from * {BUCKET_MS}) AND started_ms < :end * {DAY_MS}
    ) GROUP BY {ROLLUP_KEY}
"""  # noqa: S608
# By the indexes, so that it costs the same however far the next day is.
_NEXT_DAY = f"""
    SELECT min(day) FROM (
        SELECT min(started_ms) / {DAY_MS} AS day FROM attempts WHERE started_ms >= :day * {DAY_MS}
        UNION ALL SELECT min(quarter) / {BUCKETS_PER_DAY} FROM rollups WHERE quarter >= :day * {BUCKETS_PER_DAY}
        UNION ALL SELECT min(day) FROM days WHERE day >= :day
        UNION ALL SELECT min(day) FROM task_days WHERE day >= :day
        UNION ALL SELECT min(day) FROM strategy_days WHERE day >= :day
        UNION ALL SELECT min(quarter) / {BUCKETS_PER_DAY} FROM quarters WHERE quarter >= :day * {BUCKETS_PER_DAY}
    )
"""  # noqa: S608 (own names)


def check(
    path: Path, now_ms: int, patience: LockTimeout | None = None, connect: Connect = connected_in_turn
) -> CheckReport:
    """Check everything and change nothing.

    Raises:
        LedgerError: the ledger was written by a newer llmroute.
    """
    require_sqlite()
    notes = spool.notes(path)
    if not path.exists():
        return CheckReport(0, (), (f"there is no ledger at {path} yet", *notes), absent=True)
    if is_emptied(path):
        return CheckReport(0, (f"the ledger {path} is empty: what was in it is lost",), notes, readable=False)
    try:
        with Ledger(path, patience=patience, connect=connect) as ledger, translated(path):
            return _checked(ledger, now_ms, notes)
    except LedgerError as error:
        if not (_damaged(error.__cause__) or _is_misnumbered(path)):
            raise
        return CheckReport(0, (error.message,), notes, readable=False)


def first_whole_bucket(db: sqlite3.Connection) -> int:
    """Return the first bucket of which no attempt was pruned."""
    row = db.execute("SELECT before_ms FROM pruned").fetchone()
    return 0 if row is None else int(-(-row[0] // BUCKET_MS))


def spans(db: sqlite3.Connection) -> Iterator[dict[str, int]]:
    """Yield spans that cover all rows: UTC days from `first` to before `end`, buckets from `from` on.

    Days without rows are skipped: one row of a wrong clock would add a million of them.
    """
    whole = first_whole_bucket(db)
    end = 0
    while (first := db.execute(_NEXT_DAY, {"day": end}).fetchone()[0]) is not None:
        end = first + DAYS_AT_ONCE
        yield {"first": first, "end": end, "from": whole}


def _checked(ledger: Ledger, now_ms: int, notes: tuple[str, ...]) -> CheckReport:
    db = ledger.db
    broken = [row[0] for row in db.execute("PRAGMA integrity_check(10)").fetchall() if row[0] != "ok"]
    if broken:
        return CheckReport(0, (f"the file is damaged: {'; '.join(broken[:MOST_WORDS])}",), notes, readable=False)
    unlike = differences(db)
    faults = tuple(map(str, unlike))
    if any(one.needs_rebuilding for one in unlike):
        return CheckReport(0, faults, notes, readable=False)
    db.execute("BEGIN")
    try:
        (attempts,) = db.execute("SELECT count(*) FROM attempts").fetchone()
        if not any(one.how == "missing" and one.part.kind == "table" for one in unlike):
            faults = (*faults, *_wrong_sums(db), *_wrong_budgets(db))
        dead = len(dead_rows(db, now_ms))
    finally:
        db.execute("ROLLBACK")
    if dead:
        notes = (*notes, f"{many(dead, 'attempt')} of processes that died, given up by the next run")
    return CheckReport(attempts, faults, notes, mendable=bool(unlike))


def _wrong_sums(db: sqlite3.Connection) -> tuple[str, ...]:
    (since_day,) = db.execute(f"SELECT {SINCE_DAY}").fetchone()
    buckets: set[int] = set()
    wrong = dict.fromkeys(COARSE, 0)
    for span in spans(db):
        stored, counted = set(db.execute(_KEPT, span)), set(db.execute(FROM_ROWS, span))
        if span["first"] < since_day:
            # `backfill.fill` has not computed the savings of caches, the last column.
            stored, counted = ({row[:-1] for row in rows} for rows in (stored, counted))
        buckets |= {row[0] for row in stored ^ counted}
        # Days that are not summed yet are read from the rollups.
        summed = {**span, "first": max(span["first"], since_day)}
        for table, within in SPANS.items():
            stored = set(db.execute(f"SELECT * FROM {table} WHERE {within} AND call_count <> 0", summed))  # noqa: S608 (own names)
            made = {row for row in db.execute(of_rollups(table), summed) if row[-len(COUNTERS.split(", "))]}
            wrong[table] += len({row[0] for row in stored ^ made})
    found = {"quarter-hour": len(buckets), **{COARSE_NAMES[table]: count for table, count in wrong.items()}}
    unknown = () if db.execute("SELECT 1 FROM coarse").fetchone() else ("the start of complete sums is not recorded",)
    return unknown + tuple(
        f"the sums of {many(count, what)} are not those of the rows" for what, count in found.items() if count
    )


def _wrong_budgets(db: sqlite3.Connection) -> tuple[str, ...]:
    faults = []
    for cap, spent, reserved in hot_rows(db):
        now = summed_status(db, cap)
        if (spent, reserved) != (now.spent_picousd, now.reserved_picousd):
            faults.append(f"{named(cap)} does not count what the rows say")
    return tuple(faults)


def named(cap: Cap) -> str:
    """Return the name of a cap for messages."""
    return f"the budget{f' of workspace {cap.workspace}' if cap.workspace else ''} per {cap.period}"


def hot_rows(db: sqlite3.Connection) -> list[tuple[Cap, int, int]]:
    """Return the caps in the table `budgets`, with the pico-USD spent and reserved."""
    rows = db.execute(
        "SELECT period, workspace, cap_picousd, window_start_ms, spent_picousd, reserved_picousd FROM budgets"
    )
    return [(Cap(row[0], row[1], row[2], row[3], None), row[4], row[5]) for row in rows.fetchall()]


def _damaged(error: BaseException | None) -> bool:
    """Whether an error means damaged content, rather than a lock, a disk or a permission."""
    # A decoding error has no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return isinstance(error, UnicodeDecodeError) or (
        isinstance(error, sqlite3.DatabaseError) and code & 0xFF in _DAMAGE
    )


def _is_misnumbered(path: Path) -> bool:
    """Whether a ledger whose version number is newer has the tables of this version."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return not (is_current(db) or differences(db))
    except sqlite3.Error:
        return False
