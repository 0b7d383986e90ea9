"""Queries of a ledger in one read transaction, which all see the same state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.budgets import SharedCap
from llmroute.ledger.postgres.queries import attempts as rows
from llmroute.ledger.postgres.queries import sums
from llmroute.ledger.postgres.queries.notable_attempts import notable_attempts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from psycopg import Connection

    from llmroute.ledger.budgets import BudgetStatus, Cap
    from llmroute.ledger.port import AttemptFilter, CachedUsage, NotableAttempts, Span, UncertainCosts


class PostgresSnapshot:
    """The `port.LedgerSnapshot` of a ledger on PostgreSQL; `schema` is its quoted schema."""

    def __init__(self, db: Connection, schema: str, clock_offset_ms: int) -> None:
        self.clock_offset_ms = clock_offset_ms
        self._db = db
        self._schema = schema

    def shared_caps(self) -> Sequence[SharedCap]:
        """Return the caps for all hosts."""
        sql = f"SELECT workspace, period, cap_picousd, zone FROM {self._schema}.caps ORDER BY workspace, period"  # noqa: S608
        return [SharedCap(*row) for row in self._db.execute(sql.encode())]

    def counted(self, keys: tuple[str, ...], span: Span) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        """Yield values of the keys and their counters; see `port.Counts`."""
        return sums.counted(self._db, self._schema, keys, span)

    def uncertain_costs(self, span: Span) -> UncertainCosts:
        """Return how much of a span's cost is estimated or bounded."""
        return sums.uncertain_costs(self._db, self._schema, span)

    def cached_usage(self, span: Span) -> list[CachedUsage]:
        """Return the tokens of a span that were read from and written to prompt caches."""
        return sums.cached_usage(self._db, self._schema, span)

    def budget_statuses(self, caps: Sequence[Cap]) -> list[BudgetStatus]:
        """Return what was spent and reserved under each cap."""
        return [sums.summed_status(self._db, self._schema, cap) for cap in caps]

    def workspaces(self) -> list[str]:
        """Return the names of all workspaces."""
        return sums.workspaces(self._db, self._schema)

    def attempts(self, wanted: AttemptFilter) -> Generator[dict[str, Any], None, None]:
        """Yield attempts by column, oldest first."""
        yield from rows.attempts(self._db, self._schema, wanted)

    def last_attempts(self, last: int, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
        """Yield the last attempts, pending ones included, oldest first."""
        return iter(rows.last_attempts(self._db, self._schema, last, wanted))

    def attempts_after(self, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
        """Return the first attempts, by id, that were recorded after an id, pending ones included."""
        return rows.attempts_after(self._db, self._schema, row_id, most, wanted)

    def first_open_id(self) -> int:
        """Return the first id at or before which attempts may still be recorded, by this or a later write."""
        return rows.first_open_id(self._db, self._schema)

    def notable_attempts(self, span: Span, most: int) -> NotableAttempts:
        """Return the attempts of a span that stand out, `most` of each kind."""
        return notable_attempts(self._db, self._schema, span, most)

    def attempt_columns(self) -> list[str]:
        """Return the names of the columns of `attempts`."""
        return rows.attempt_columns(self._db, self._schema)
