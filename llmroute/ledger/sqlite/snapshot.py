"""Queries of a ledger in one read transaction, which all see the same state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.port import Part, TierSums, UncertainCosts
from llmroute.ledger.reports import NOT_STANDARD, OF_BATCHES, tier_columns
from llmroute.ledger.sqlite.errors import translated
from llmroute.ledger.sqlite.schema.backfill import SINCE_BUCKET, SINCE_DAY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.budgets import BudgetStatus, Cap, SharedCap
    from llmroute.ledger.port import AttemptFilter, NotableAttempts, Span

# Where the usage was reported, only the price is uncertain, and the highest known price was taken.
_UNCERTAIN = """
SELECT cost_basis, count(*), ifnull(sum(cost_picousd), 0),
    ifnull(sum(max(cost_picousd, iif(cost_basis = 'estimated' AND usage_source = 'reported', 0, reserved_picousd))), 0)
FROM attempts
WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least')
    AND started_ms >= :since_ms AND started_ms < :until_ms{own}
GROUP BY cost_basis
"""
_TIER_SUMS = """
SELECT {columns} FROM attempts
WHERE status <> 'pending' AND {condition} AND started_ms >= :since_ms AND started_ms < :until_ms{own}
GROUP BY 1, 2, 3, 4
"""
# From one to the next by the index, instead of through all buckets; rollups only as far as those are not summed yet.
_WORKSPACES = f"""
WITH RECURSIVE names (name) AS (
    SELECT min(workspace) FROM quarters WHERE workspace > ''
    UNION ALL SELECT (SELECT min(workspace) FROM quarters WHERE workspace > name) FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL
UNION SELECT workspace FROM rollups WHERE quarter < {SINCE_BUCKET} AND workspace > ''
"""  # noqa: S608 (own names)


class SQLiteSnapshot:
    """The `port.LedgerSnapshot` of a SQLite ledger.  Each query loads its module: reports need few of them."""

    clock_offset_ms = 0

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def shared_caps(self) -> Sequence[SharedCap]:
        """Return the caps for all hosts: a file has none."""
        return ()

    def counted(self, keys: tuple[str, ...], span: Span) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        """Yield values of the keys and their counters; see `port.Counts`."""
        from llmroute.ledger.sqlite.queries.counters import counted

        with translated(self._path):
            yield from counted(self._db, keys, span)

    def uncertain_costs(self, span: Span) -> UncertainCosts:
        """Return how much of a span's cost is estimated or bounded."""
        return UncertainCosts(**{basis: Part(*sums) for basis, *sums in self._of_span(_UNCERTAIN, span)})

    def sums_by_tier(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """Return the sums of each service tier but the standard one."""
        return self._tier_sums(span, lengths, NOT_STANDARD)

    def sums_of_batches(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """Return the sums of the tier of batch APIs."""
        return self._tier_sums(span, lengths, OF_BATCHES)

    def unfilled_until_ms(self) -> int:
        """Return the time before which sums lack what prompt caches saved."""
        with translated(self._path):
            (since_day,) = self._db.execute(f"SELECT {SINCE_DAY}").fetchone()
        return int(since_day) * DAY_MS

    def pruned_until_ms(self) -> int:
        """Return the time before which all attempts are pruned."""
        with translated(self._path):
            (before_ms,) = self._db.execute("SELECT ifnull(max(before_ms), 0) FROM pruned").fetchone()
        return int(before_ms)

    def budget_statuses(self, caps: Sequence[Cap]) -> list[BudgetStatus]:
        """Return the spent and the reserved amount of each cap."""
        from llmroute.ledger.sqlite.budgets import summed_status

        with translated(self._path):
            return [summed_status(self._db, cap) for cap in caps]

    def workspaces(self) -> list[str]:
        """Return the names of all workspaces."""
        with translated(self._path):
            return [name for (name,) in self._db.execute(_WORKSPACES)]

    def attempts(self, wanted: AttemptFilter) -> Generator[dict[str, Any], None, None]:
        """Yield attempts by column, oldest first."""
        from llmroute.ledger.sqlite.queries.attempts import attempts

        with translated(self._path):
            yield from attempts(self._db, wanted)

    def last_attempts(self, last: int, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
        """Yield the last attempts, pending ones included, oldest first."""
        from llmroute.ledger.sqlite.queries.attempts import last_attempts

        with translated(self._path):
            yield from last_attempts(self._db, last, wanted)

    def attempts_after(self, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
        """Return the first attempts, by id, that were recorded after an id, pending ones included."""
        from llmroute.ledger.sqlite.queries.attempts import attempts_after

        with translated(self._path):
            return attempts_after(self._db, row_id, most, wanted)

    def complete_until_id(self) -> None:
        """Return None: writes are one after the other, and so are their ids."""

    def notable_attempts(self, span: Span, most: int) -> NotableAttempts:
        """Return the attempts of a span that stand out, `most` of each kind."""
        from llmroute.ledger.sqlite.queries.notable_attempts import notable_attempts

        with translated(self._path):
            return notable_attempts(self._db, span, most)

    def attempt_columns(self) -> list[str]:
        """Return the names of the columns of `attempts`."""
        from llmroute.ledger.sqlite.queries.attempts import attempt_columns

        with translated(self._path):
            return attempt_columns(self._db)

    def _tier_sums(self, span: Span, lengths: Sequence[int], condition: str) -> list[TierSums]:
        sql = _TIER_SUMS.format(columns=tier_columns(lengths), condition=condition, own="{own}")
        return [TierSums(*row) for row in self._of_span(sql, span)]

    def _of_span(self, sql: str, span: Span) -> list[tuple[Any, ...]]:
        """Return the rows of a query of the attempts of a span."""
        own = "" if span.workspace is None else " AND ifnull(workspace, '') = :workspace"
        values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
        with translated(self._path):
            return self._db.execute(sql.format(own=own), values).fetchall()
