"""Queries of a ledger in one read transaction, which all see the same state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.sqlite.errors import translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.budgets import BudgetStatus, Cap, SharedCap
    from llmroute.ledger.port import AttemptFilter, CachedUsage, NotableAttempts, Span, UncertainCosts


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
        from llmroute.ledger.sqlite.queries.uncertain_costs import uncertain_costs

        with translated(self._path):
            return uncertain_costs(self._db, span)

    def cached_usage(self, span: Span) -> list[CachedUsage]:
        """Return the tokens of a span that were read from and written to prompt caches."""
        from llmroute.ledger.sqlite.queries.cached_usage import cached_usage

        with translated(self._path):
            return cached_usage(self._db, span)

    def budget_statuses(self, caps: Sequence[Cap]) -> list[BudgetStatus]:
        """Return what was spent and reserved under each cap."""
        from llmroute.ledger.sqlite.budgets import summed_status

        with translated(self._path):
            return [summed_status(self._db, cap) for cap in caps]

    def workspaces(self) -> list[str]:
        """Return the names of all workspaces."""
        from llmroute.ledger.sqlite.queries.workspaces import workspaces

        with translated(self._path):
            return workspaces(self._db)

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

    def first_open_id(self) -> None:
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
