"""Sum costs that are uncertain: estimates, reservations in place of an unknown cost, and lower bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.port import Part, UncertainCosts

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.port import Span

# Where the usage was reported, only the price is uncertain, and the highest known price was taken.
_UNCERTAIN = """
SELECT cost_basis, count(*), ifnull(sum(cost_picousd), 0),
    ifnull(sum(max(cost_picousd, iif(cost_basis = 'estimated' AND usage_source = 'reported', 0, reserved_picousd))), 0)
FROM attempts
WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least')
    AND started_ms >= :since_ms AND started_ms < :until_ms{own}
GROUP BY cost_basis
"""


def uncertain_costs(db: sqlite3.Connection, span: Span) -> UncertainCosts:
    """Return how much of a span's cost is estimated or bounded."""
    own = "" if span.workspace is None else " AND ifnull(workspace, '') = :workspace"
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    rows = db.execute(_UNCERTAIN.format(own=own), values)
    return UncertainCosts(**{basis: Part(*sums) for basis, *sums in rows})
