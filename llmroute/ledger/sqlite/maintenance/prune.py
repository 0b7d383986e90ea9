"""Back up the ledger, and prune its old rows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, OutputError, RequestError
from llmroute.files import cannot_write, new_file_beside
from llmroute.ledger.buckets import bucket_start_ms
from llmroute.ledger.sqlite.errors import is_full, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.sqlite.shared_connection import SharedConnection

BATCH = 1_000
# Files that SQLite leaves beside one that it cannot write to the end.
_BESIDE = ("-journal", "-wal", "-shm")
_DELETE = """
DELETE FROM attempts WHERE id IN (
    SELECT id FROM attempts WHERE started_ms < ? AND status <> 'pending' LIMIT ?
)
"""


def backup(connection: SharedConnection, target: Path) -> None:
    """Copy the ledger into one consistent file, also while others write.

    Raises:
        RequestError: the target exists, or its folder does not.
        OutputError: the target cannot be written.
        LedgerError: the ledger cannot be read, or the target not be written.
    """
    with new_file(target) as new:
        with closing(sqlite3.connect(new, isolation_level=None)) as copy:
            connection.db.backup(copy)
            # Without files beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            (sound,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            from llmroute.text.option_text import OptionText, Remedy

            hint = OptionText(Remedy("repair", value=True, words="llmroute costs check says how to repair it"))
            raise LedgerError(f"the ledger is damaged, and so is the copy: {sound}", hint=hint)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield the path of a file that appears at `target` when the block ends without an error.

    Raises:
        RequestError: the target exists, or its folder does not.
        OutputError: the target cannot be written.
        LedgerError: SQLite raised an error in the block.
    """
    if os.path.lexists(target):
        raise RequestError(f"{target} already exists", hint="name a new file")
    try:
        fd, new = new_file_beside(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    os.close(fd)
    with translated(target):
        try:
            yield new
            try:
                target.hardlink_to(new)
            except OSError as error:
                raise cannot_write(target, error) from error
        except (sqlite3.Error, LedgerError) as error:
            if is_full(error, target):
                raise OutputError(f"{target} cannot be written: the disk is full") from error
            raise
        finally:
            for beside in ("", *_BESIDE):
                new.with_name(f"{new.name}{beside}").unlink(missing_ok=True)


def prunable(connection: SharedConnection, before_ms: int) -> int:
    """Return how many attempts `prune` would delete.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with connection.reading() as db:
        (count,) = db.execute(
            "SELECT count(*) FROM attempts WHERE started_ms < ? AND status <> 'pending'",
            (bucket_start_ms(before_ms),),
        ).fetchone()
    return int(count)


def prune(connection: SharedConnection, before_ms: int) -> int:
    """Delete settled attempts that started before a time, in short transactions; return how many.

    Their sums stay in the rollups.  The time is rounded down to a bucket.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    before_ms = bucket_start_ms(before_ms)
    with connection.transaction() as db:
        db.execute(
            "INSERT INTO pruned VALUES (1, ?) ON CONFLICT DO UPDATE SET before_ms = max(before_ms, excluded.before_ms)",
            (before_ms,),
        )
    count = 0
    while True:
        started_s = monotonic()
        with connection.transaction() as db:
            deleted = db.execute(_DELETE, (before_ms, BATCH)).rowcount
        count += deleted
        if deleted < BATCH:
            return count
        connection.renew_patience()
        # Leave the ledger free for as long: processes that wait for its lock poll it.
        sleep(monotonic() - started_s)
