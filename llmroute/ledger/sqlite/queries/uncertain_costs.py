"""How much of a bill is no fact: estimates, reservations that stand in for an unknown cost, and lower bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.reports import Part, UncertainCosts

if TYPE_CHECKING:
    from llmroute.ledger.reports import Span
    from llmroute.ledger.sqlite.store import Ledger

# Of a usage that is known only the price is in doubt, and the dearest known was taken.
_UNSURE = """
SELECT cost_basis, count(*), ifnull(sum(cost_picousd), 0),
    ifnull(sum(max(cost_picousd, iif(cost_basis = 'estimated' AND usage_source = 'reported', 0, reserved_picousd))), 0)
FROM attempts
WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least')
    AND started_ms >= :since_ms AND started_ms < :until_ms{own}
GROUP BY cost_basis
"""


def unsure(ledger: Ledger, span: Span) -> UncertainCosts:
    """Return how much of a span is no fact.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    own = "" if span.workspace is None else " AND ifnull(workspace, '') = :workspace"
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    with ledger.reading() as db:
        return UncertainCosts(**{basis: Part(*told) for basis, *told in db.execute(_UNSURE.format(own=own), values)})
