"""Add the rows of a spool file to a server, in groups of which each is a transaction."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError
from llmroute.ledger import spool
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.postgres.errors import is_of_one_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.entries import LedgerEntry, Refusal
    from llmroute.ledger.spool.rows import SpooledRow

    Write = Callable[[Sequence[LedgerEntry]], Sequence[LedgerError | Refusal | None]]


def take_in(place: Path, write: Write, forget: Callable[[Sequence[AttemptRow]], None], until_s: float) -> spool.TakenIn:
    """Add the rows of a spool file, the last ones first, until `until_s` of the monotonic clock.

    `forget` gets those that are in no spool any more, and of whose attempts no other row is.

    Raises:
        LedgerError: the server cannot be written; the rows that it did not take stay in the file.
        OSError: the file cannot be read, or another process uses it.
    """
    calls: set[tuple[str, int]] = set()
    # Rows of attempts of which an earlier line, which comes next, may have another row.
    remembered: dict[tuple[str, int], AttemptRow] = {}
    invalid = 0
    while True:
        added, others = _add_last(place, write)
        is_empty = len(added) + others < spool.ROWS_AT_ONCE
        gone = []
        for one in reversed(added):
            key = (one.row.request_id, one.row.attempt)
            calls.add(key)
            if one.is_first_of_attempt:
                remembered.pop(key, None)
                gone.append(one.row)
            else:
                remembered[key] = one.row
        forget([*gone, *remembered.values()] if is_empty else gone)
        invalid += others
        if is_empty or monotonic() >= until_s:
            return spool.TakenIn(len(calls), invalid)


def _add_last(place: Path, write: Write) -> tuple[list[SpooledRow], int]:
    """Add the last rows of a file; return those rows, and how many other lines there were.

    They are committed before they are removed.  Other hosts wait no longer than for these.
    """
    added = []
    with spool.taken(place) as (rows, invalid):
        entries = [
            Pending(one.row, spooled=True)
            if one.row.status == "pending"
            else Settled(one.row, one.length, spooled=True, begun=one.begun)
            for one in rows
        ]
        for spooled, outcome in zip(rows, write(entries), strict=True):
            if isinstance(outcome, LedgerError):
                if not is_of_one_row(outcome.__cause__):
                    raise outcome
                invalid.append(spooled.line())
            else:
                added.append(spooled)
    return added, len(invalid)
