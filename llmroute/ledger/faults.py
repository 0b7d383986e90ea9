"""What sqlite3 and the file system raise, as errors of the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HINT = "llmroute costs check says more; or point LLMROUTE_LEDGER to another file"
# What is wrong with one row and says nothing of the others.
OF_ONE_ROW = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeError,
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate what sqlite3 and the file system raise: this is the boundary at which their errors end."""
    try:
        yield
    except sqlite3.Error as error:
        reason = "it is a directory" if path.is_dir() else str(error)
        raise LedgerError(f"the ledger {path} cannot be used: {reason}", hint=HINT) from error
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be used: {error.strerror or error}", hint=HINT) from error
    except (OverflowError, UnicodeError) as error:
        # A number beyond 64 bits, or half a character in a label.
        raise LedgerError(f"the ledger {path} cannot hold this call: {error}") from error
