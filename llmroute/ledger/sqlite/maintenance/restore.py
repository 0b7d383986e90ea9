"""Restore the ledger from a copy."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.files import Hold
from llmroute.ledger.maintenance import Restored
from llmroute.ledger.sqlite.connection import connected_to_read
from llmroute.ledger.sqlite.errors import translated
from llmroute.ledger.sqlite.locks import folder_held
from llmroute.ledger.sqlite.maintenance.create import free_name, new_ledger_beside, replace, tidy, unwritten
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger.lock_timeout import LockTimeout

_HINT = "name a file that llmroute costs backup wrote"


def restore(path: Path, copy: Path, stamp: str, now_ms: int, patience: LockTimeout) -> Restored:
    """Check a copy and replace the ledger by it atomically.

    Processes that have the old one open notice it, and spool their rows.

    Raises:
        RequestError: there is no such copy, or it is the ledger itself.
        LedgerError: the copy is not sound, or the ledger is in use, or its directory cannot be written.
    """
    if not copy.is_file():
        raise RequestError(f"{copy} is not a file", hint=_HINT)
    if path.exists() and path.samefile(copy):
        raise RequestError(f"{copy} is the ledger itself")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with translated(path), new_ledger_beside(path) as new:
        found = _copied(copy, new, now_ms, patience)
        with folder_held(path.parent, Hold.ALONE, patience):
            if not path.exists():
                aside = None
                replace(path, new, free_name(path, "orphan", stamp))
            else:
                aside = free_name(path, "replaced", stamp)
                with unwritten(path, patience):
                    replace(path, new, aside)
                tidy(aside)
    return Restored(found, aside)


def _copied(copy: Path, new: Path, now_ms: int, patience: LockTimeout) -> int:
    """Copy the copy, which a check could change, and return how many attempts it has."""
    try:
        with (
            closing(connected_to_read(copy, patience.left_s)) as source,
            closing(sqlite3.connect(new, isolation_level=None)) as target,
        ):
            source.backup(target)
        report = check(new, now_ms, patience)
    except (sqlite3.Error, UnicodeDecodeError, LedgerError) as error:
        reason = str(error).replace(str(new), str(copy))
        raise LedgerError(f"{copy} cannot be restored: {reason}", hint=_HINT) from error
    if faults := report.faults:
        raise LedgerError(
            f"{copy} is not sound: {faults[0].replace(str(new), str(copy))}",
            hint=OptionText(Remedy("repair", words="a repair"), f" with LLMROUTE_LEDGER={os.fspath(copy)} mends it"),
        )
    return report.attempts
