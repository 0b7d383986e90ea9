"""Queries of a ledger in one read transaction, which all see the same state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.budgets import BudgetStatus, SharedCap
from llmroute.ledger.port import Part, TierSums, UncertainCosts
from llmroute.ledger.postgres.entries import window_json
from llmroute.ledger.postgres.queries import attempts as rows
from llmroute.ledger.postgres.queries import sums
from llmroute.ledger.postgres.queries.notable_attempts import notable_attempts
from llmroute.ledger.postgres.queries.writes_in_progress import complete_until_id
from llmroute.ledger.reports import NOT_STANDARD, OF_BATCHES, tier_columns

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from psycopg import Connection

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.port import AttemptFilter, NotableAttempts, Span


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
        # Where the usage was reported, only the price is uncertain, and the highest known price was taken.
        columns = """
            cost_basis, count(*), coalesce(sum(cost_picousd), 0), coalesce(sum(
                CASE WHEN cost_basis = 'estimated' AND usage_source = 'reported' THEN greatest(cost_picousd, 0)
                WHEN cost_picousd IS NOT NULL AND reserved_picousd IS NOT NULL
                THEN greatest(cost_picousd, reserved_picousd) END
            ), 0)
        """
        rows = self._of_span(columns, "cost_basis IN ('estimated', 'at_most', 'at_least')", "cost_basis", span)
        return UncertainCosts(**{basis: Part(*map(int, sums)) for basis, *sums in rows})

    def sums_by_tier(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """Return the sums of each service tier but the standard one."""
        return self._tier_sums(span, lengths, NOT_STANDARD)

    def sums_of_batches(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """Return the sums of the tier of batch APIs."""
        return self._tier_sums(span, lengths, OF_BATCHES)

    def unfilled_until_ms(self) -> int:
        """Return the time before which sums lack what prompt caches saved."""
        return sums.since_day(self._db, self._schema) * DAY_MS

    def pruned_until_ms(self) -> int:
        """Return the time before which all attempts are pruned."""
        return sums.pruned_until_ms(self._db, self._schema)

    def budget_statuses(self, caps: Sequence[Cap]) -> list[BudgetStatus]:
        """Return the spent and the reserved amount of each cap."""
        sql = f"SELECT * FROM {self._schema}.sums_of_window_1(%(workspace)s, %(start_ms)s, %(end_ms)s)"  # noqa: S608
        found = [self._db.execute(sql.encode(), window_json(cap)).fetchall() for cap in caps]
        return [BudgetStatus(cap, *row) for cap, (row,) in zip(caps, found, strict=True)]

    def workspaces(self) -> list[str]:
        """Return the names of all workspaces."""
        sql = " UNION ".join(
            f"SELECT workspace FROM {self._schema}.{table} WHERE workspace > ''"  # noqa: S608 (own names)
            for table in ("days", "deltas")
        )
        return [name for (name,) in self._db.execute(f"{sql} ORDER BY workspace".encode())]

    def attempts(self, wanted: AttemptFilter) -> Generator[dict[str, Any], None, None]:
        """Yield attempts by column, oldest first."""
        yield from rows.attempts(self._db, self._schema, wanted)

    def last_attempts(self, last: int, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
        """Yield the last attempts, pending ones included, oldest first."""
        return iter(rows.last_attempts(self._db, self._schema, last, wanted))

    def attempts_after(self, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
        """Return the first attempts, by id, that were recorded after an id, pending ones included."""
        return rows.attempts_after(self._db, self._schema, row_id, most, wanted)

    def complete_until_id(self) -> int:
        """Return an id before which a later snapshot has every attempt; see `writes_in_progress`."""
        return complete_until_id(self._db, self._schema)

    def notable_attempts(self, span: Span, most: int) -> NotableAttempts:
        """Return the attempts of a span that stand out, `most` of each kind."""
        return notable_attempts(self._db, self._schema, span, most)

    def attempt_columns(self) -> list[str]:
        """Return the names of the columns of `attempts`."""
        return rows.attempt_columns(self._db, self._schema)

    def _tier_sums(self, span: Span, lengths: Sequence[int], condition: str) -> list[TierSums]:
        rows = self._of_span(tier_columns(lengths), condition, "1, 2, 3, 4", span)
        return [TierSums(*row[:3], *map(int, row[3:])) for row in rows]

    def _of_span(self, columns: str, condition: str, group: str, span: Span) -> list[tuple[Any, ...]]:
        """Return aggregates of the settled attempts of a span."""
        own = "" if span.workspace is None else " AND coalesce(workspace, '') = %(workspace)s"
        sql = f"""
            SELECT {columns} FROM {self._schema}.attempts WHERE status <> 'pending' AND {condition}
            AND started_ms >= %(since_ms)s AND started_ms < %(until_ms)s{own} GROUP BY {group}
        """  # noqa: S608 (own names)
        values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
        return self._db.execute(sql.encode(), values).fetchall()
