"""Select the workspaces that have attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.sqlite.schema.backfill import SINCE_BUCKET

if TYPE_CHECKING:
    import sqlite3

# From one to the next by the index, instead of through all buckets; rollups only as far as those are not summed yet.
_WORKSPACES = f"""
WITH RECURSIVE names (name) AS (
    SELECT min(workspace) FROM quarters WHERE workspace > ''
    UNION ALL SELECT (SELECT min(workspace) FROM quarters WHERE workspace > name) FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
UNION SELECT workspace FROM rollups WHERE quarter < {SINCE_BUCKET} AND workspace > ''
"""  # noqa: S608 (own names)


def workspaces(db: sqlite3.Connection) -> list[str]:
    """Return the names of all workspaces."""
    return [name for (name,) in db.execute(_WORKSPACES)]
