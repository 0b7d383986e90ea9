"""Sum the tokens that were read from and written to prompt caches, by the price that was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.port import CACHED_STEP, CachedUsage

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.port import Span

# The condition of the index `attempts_cached`.
_CACHED = f"""
SELECT price, (input_tokens - 1) / {CACHED_STEP} AS step, sum(ifnull(cached_input_tokens, 0)),
    sum(ifnull(cache_write_tokens, 0)), sum(ifnull(cache_write_1h_tokens, 0))
FROM attempts
WHERE (cached_input_tokens > 0 OR cache_write_tokens > 0) AND status <> 'pending' AND price IS NOT NULL
    AND input_tokens > 0 AND started_ms >= :since_ms AND started_ms < :until_ms{{own}}
GROUP BY price, step
"""  # noqa: S608 (own names)


def cached_usage(db: sqlite3.Connection, span: Span) -> list[CachedUsage]:
    """Return the cached tokens of a span, without those of pruned rows."""
    own = "" if span.workspace is None else " AND ifnull(workspace, '') = :workspace"
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    return [CachedUsage(*row) for row in db.execute(_CACHED.format(own=own), values)]
