"""Replace computed costs by costs that the user knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.corrections import FoundAttempt, name_of, only_one

if TYPE_CHECKING:
    from psycopg import Connection

    from llmroute.ledger.corrections import Correction
    from llmroute.ledger.postgres.connection import ServerConnection

_FOUND = """
SELECT id, request_id, attempt, provider, model, status, cost_picousd,
    CASE WHEN cost_basis IS NULL THEN status <> 'lost' AND usage_source = 'reported' ELSE cost_basis = 'reported' END
FROM {schema}.attempts WHERE """
# The computed cost is kept, however often it is corrected.
_CORRECT = """
UPDATE {schema}.attempts SET cost_picousd = %s, cost_basis = 'corrected', corrected_ms = {schema}.now_ms_1(),
    computed_picousd = CASE WHEN corrected_ms IS NULL THEN cost_picousd ELSE computed_picousd END
WHERE id = %s
"""


def correct(connection: ServerConnection, named: str, cost_picousd: int) -> Correction:
    """Replace the cost of an attempt; sums and budgets change in the same transaction.

    Raises:
        RequestError: there is no such attempt, it is pending, or its request has several.
        LedgerError: the ledger cannot be written.
    """
    schema = connection.schema
    with connection.transaction() as db:
        db.execute(f"LOCK TABLE {schema}.windows IN ROW EXCLUSIVE MODE".encode())
        row_id = only_one(named, _named_attempts(db, schema, named)).row_id
        lock = f"SELECT {schema}.lock_windows_1(ARRAY[coalesce(workspace, '')], started_ms, started_ms)"
        db.execute(f"{lock} FROM {schema}.attempts WHERE id = %s".encode(), (row_id,))
        # Others may have changed or deleted it since; the order of locks is that of writers.
        locked = db.execute(f"{_FOUND.format(schema=schema)} id = %s FOR UPDATE".encode(), (row_id,))
        found = only_one(named, [FoundAttempt(*row) for row in locked])
        db.execute(_CORRECT.format(schema=schema).encode(), (cost_picousd, found.row_id))
    return found.corrected(cost_picousd)


def _named_attempts(db: Connection, schema: str, named: str) -> list[FoundAttempt]:
    sql, name = _FOUND.format(schema=schema), name_of(named)
    if name.row_id is not None:
        rows = db.execute(f"{sql} id = %s".encode(), (name.row_id,))
    elif name.attempt:
        rows = db.execute(f"{sql} request_id = %s AND attempt::text = %s".encode(), (name.request_id, name.attempt))
    else:
        rows = db.execute(f"{sql} request_id = %s ORDER BY attempt".encode(), (name.request_id,))
    return [FoundAttempt(*row) for row in rows.fetchall()]
