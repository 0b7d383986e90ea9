"""Select attempts that stand out in a span: those that failed, cost most or took longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from llmroute.ledger.port import NotableAttempts
from llmroute.ledger.postgres.queries.attempts import selected

if TYPE_CHECKING:
    from psycopg import Connection

    from llmroute.ledger.port import Span

_WITHIN = "started_ms >= %(since_ms)s AND started_ms < %(until_ms)s"
_OWN = " AND coalesce(workspace, '') = %(workspace)s"


def notable_attempts(db: Connection, schema: str, span: Span, most: int) -> NotableAttempts:
    """Return the attempts of a span that stand out, `most` of each kind."""
    within = _WITHIN if span.workspace is None else _WITHIN + _OWN
    values = {
        "since_ms": span.since_ms or 0,
        "until_ms": span.until_ms,
        "workspace": span.workspace,
        "most": most,
    }
    names = selected(db, schema)

    def highest(column: str) -> list[dict[str, Any]]:
        sql = (
            f"SELECT {names} FROM {schema}.attempts WHERE {column} > 0 AND {within}"  # noqa: S608 (own names)
            f" ORDER BY {column} DESC, id LIMIT %(most)s"
        )
        with db.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.encode(), values).fetchall()

    failures = (
        f"SELECT coalesce(error, status), count(*) FROM {schema}.attempts"  # noqa: S608 (own names)
        f" WHERE status NOT IN ('ok', 'pending') AND {within} GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    return NotableAttempts(
        dearest=highest("cost_picousd"),
        slowest=highest("latency_ms"),
        failures=db.execute(failures.encode(), values).fetchall(),
    )
