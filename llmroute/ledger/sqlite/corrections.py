"""Replace computed costs by costs that the user knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.ledger.port import Correction

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.sqlite.shared_connection import SharedConnection

_FOUND = """
SELECT id, request_id, attempt, provider, model, status, cost_picousd,
    CASE WHEN cost_basis IS NULL THEN status <> 'lost' AND usage_source = 'reported' ELSE cost_basis = 'reported' END
FROM attempts WHERE """
# The computed cost is kept, however often it is corrected.
_CORRECT = """
UPDATE attempts SET computed_picousd = iif(corrected_ms IS NULL, cost_picousd, computed_picousd),
    cost_picousd = ?, cost_basis = 'corrected', corrected_ms = ?
WHERE id = ?
"""
# Row ids are shorter than ids of requests, which have twenty-eight digits.
_LONGEST_ROW_ID = 18


def correct(connection: SharedConnection, named: str, cost_picousd: int, now_ms: int) -> Correction:
    """Replace the cost of an attempt; sums and budgets change in the same transaction.

    `named` is the attempt's row id, or the id of its request, with `/2` for the second of several attempts.

    Raises:
        RequestError: there is no such attempt, it is pending, or its request has several.
        LedgerError: the ledger cannot be written.
    """
    with connection.transaction() as db:
        row_id, request_id, attempt, provider, model, status, old, fact = _named_attempt(db, named)
        if status == "pending":
            raise RequestError(f"attempt {named} is still pending", hint="correct it after it has ended")
        db.execute(_CORRECT, (cost_picousd, now_ms, row_id))
    return Correction(row_id, request_id, attempt, provider, model, old, cost_picousd, bool(fact and old is not None))


def _named_attempt(db: sqlite3.Connection, named: str) -> tuple[int, str, int, str, str, str, int | None, int | None]:
    request_id, _, number = named.partition("/")
    if not number and named.isascii() and named.isdecimal() and len(named) <= _LONGEST_ROW_ID:
        found = db.execute(f"{_FOUND} id = ?", (int(named),)).fetchall()
    elif number:
        found = db.execute(f"{_FOUND} request_id = ? AND CAST(attempt AS TEXT) = ?", (request_id, number)).fetchall()
    else:
        found = db.execute(f"{_FOUND} request_id = ? ORDER BY attempt", (request_id,)).fetchall()
    if not found:
        raise RequestError(
            f"there is no attempt {named!r} in the ledger", hint="llmroute costs calls lists attempts with their ids"
        )
    if len(found) > 1:
        raise RequestError(
            f"request {request_id} has {len(found)} attempts",
            hint=f"name one of them, as in {request_id}/{found[0][2]}",
        )
    attempt: tuple[int, str, int, str, str, str, int | None, int | None] = found[0]
    return attempt
