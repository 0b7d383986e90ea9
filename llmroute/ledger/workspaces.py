"""Which workspaces the ledger knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmroute.ledger.store import Ledger

# From one to the next by the index, instead of through all quarters; rollups only as far as those are not summed yet.
_WORKSPACES = """
WITH RECURSIVE names (name) AS (
    SELECT min(workspace) FROM quarters WHERE workspace > ''
    UNION ALL SELECT (SELECT min(workspace) FROM quarters WHERE workspace > name) FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
UNION SELECT workspace FROM rollups WHERE quarter < (SELECT since_day * 96 FROM coarse) AND workspace > ''
"""


def workspaces(ledger: Ledger) -> list[str]:
    """Return every workspace that an attempt was made for.

    Raises:
        LedgerError: it cannot be read.
    """
    with ledger.reading() as db:
        return [name for (name,) in db.execute(_WORKSPACES)]
