"""Replace computed costs by costs that the user knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.corrections import FoundAttempt, name_of, only_one

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.corrections import Correction
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


def correct(connection: SharedConnection, named: str, cost_picousd: int, now_ms: int) -> Correction:
    """Replace the cost of an attempt; sums and budgets change in the same transaction.

    `named` is the attempt's row id, or the id of its request, with `/2` for the second of several attempts.

    Raises:
        RequestError: there is no such attempt, it is pending, or its request has several.
        LedgerError: the ledger cannot be written.
    """
    with connection.transaction() as db:
        found = only_one(named, _named_attempts(db, named))
        db.execute(_CORRECT, (cost_picousd, now_ms, found.row_id))
    return found.corrected(cost_picousd)


def _named_attempts(db: sqlite3.Connection, named: str) -> list[FoundAttempt]:
    name = name_of(named)
    if name.row_id is not None:
        rows = db.execute(f"{_FOUND} id = ?", (name.row_id,))
    elif name.attempt:
        rows = db.execute(f"{_FOUND} request_id = ? AND CAST(attempt AS TEXT) = ?", (name.request_id, name.attempt))
    else:
        rows = db.execute(f"{_FOUND} request_id = ? ORDER BY attempt", (name.request_id,))
    return [FoundAttempt(*row) for row in rows.fetchall()]
