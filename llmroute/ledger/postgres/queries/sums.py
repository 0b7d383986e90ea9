"""Sum settled attempts by keys, from the rollups and what is not merged into them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY
from llmroute.ledger.budgets import BudgetStatus
from llmroute.ledger.port import CACHED_STEP, CachedUsage, Part, UncertainCosts
from llmroute.ledger.postgres.entries import window_json
from llmroute.ledger.postgres.schema.tables import COUNTERS as STORED
from llmroute.ledger.postgres.schema.tables import ROLLUP_KEY
from llmroute.ledger.reports import COUNTERS, PRUNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.port import Span

_BY_STATUS = {
    "failed_count": "CASE WHEN status IN ('ok', 'rejected') THEN 0 ELSE call_count END",
    "rejected_count": "CASE WHEN status = 'rejected' THEN call_count ELSE 0 END",
}
SUMS = ", ".join(f"sum({_BY_STATUS.get(name, name)})" for name in COUNTERS)
_OF_WORKSPACE = " AND workspace = %(workspace)s"
_COLUMNS = ", ".join((*ROLLUP_KEY, *STORED))


# Words of providers for the tier with the list price, as in `sqlite.queries.counters`.
_TIER = "CASE WHEN coalesce(service_tier, '') IN ('', 'default', 'auto') THEN 'standard' ELSE service_tier END"


def all_sums(schema: str) -> str:
    """Return a table of all rollups and deltas."""
    return f"(SELECT {_COLUMNS} FROM {schema}.rollups UNION ALL SELECT {_COLUMNS} FROM {schema}.deltas) AS sums"  # noqa: S608


def of_rows(schema: str, condition: str) -> str:
    """Return a table of what each settled attempt under a condition adds to the sums, with its execution and tier."""
    values = {
        "quarter": f"started_ms / {BUCKET_MS}",
        "workspace": "coalesce(workspace, '')",
        "task": "coalesce(task, '')",
        "strategy": "coalesce(strategy, '')",
        "call_count": "1",
        "unknown_cost_count": "(cost_picousd IS NULL)::int",
        "fallback_cost_picousd": "CASE WHEN attempt > 1 THEN coalesce(cost_picousd, 0) ELSE 0 END",
    }
    key = [f"{values.get(name, name)} AS {name}" for name in ROLLUP_KEY]
    counters = [f"{values.get(name, f'coalesce({name}, 0)')} AS {name}" for name in STORED]
    return (
        f"(SELECT coalesce(execution, '') AS execution, {_TIER} AS tier, {', '.join((*key, *counters))}"  # noqa: S608 (own names)
        f" FROM {schema}.attempts WHERE status <> 'pending' AND {condition}) AS counted"
    )


def counted(
    db: Connection, schema: str, keys: tuple[str, ...], span: Span
) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
    """Yield values of the keys and the `reports.COUNTERS`; the same values may come several times."""
    first = 0 if span.since_ms is None else span.since_ms // BUCKET_MS
    end = -(-span.until_ms // BUCKET_MS)
    own = "" if span.workspace is None else _OF_WORKSPACE
    for table, time, since, until in _parts(db, schema, keys, first, end):
        if since < until:
            names = ", ".join(keys)
            within = f"{time} >= %(first)s AND {time} < %(end)s"
            sql = f"SELECT {names}, {SUMS} FROM {table} WHERE call_count <> 0 AND {within}{own}"  # noqa: S608
            values = {"first": since, "end": until, "workspace": span.workspace}
            for row in db.execute(f"{sql} GROUP BY {names} ORDER BY {names}".encode(), values):
                if any(row[len(keys) :]):
                    yield row[: len(keys)], tuple(map(int, row[len(keys) :]))


def _parts(
    db: Connection, schema: str, keys: tuple[str, ...], first: int, end: int
) -> Sequence[tuple[str, str, int, int]]:
    """Return tables, the column of their time and its bounds: as few rows as have the keys.

    Executions and tiers are only in the rows of attempts.
    """
    if {"provider", "model", "workspace", "status"}.issuperset(keys):
        first_day = -(-first // BUCKETS_PER_DAY)
        end_day = max(end // BUCKETS_PER_DAY, first_day)
        return [
            (f"{schema}.days", "day", first_day, end_day),
            (f"{schema}.rollups", "quarter", first, min(first_day * BUCKETS_PER_DAY, end)),
            (f"{schema}.rollups", "quarter", end_day * BUCKETS_PER_DAY, end),
            (f"{schema}.deltas", "quarter", first, end),
        ]
    if not {"execution", "tier"} & set(keys):
        return [(all_sums(schema), "quarter", first, end)]
    row = db.execute(f"SELECT coalesce(max(before_ms), 0) FROM {schema}.pruned".encode()).fetchone()  # noqa: S608
    whole = (row[0] if row else 0) // BUCKET_MS
    rows = of_rows(
        schema, f"started_ms >= %(first)s::bigint * {BUCKET_MS} AND started_ms < %(end)s::bigint * {BUCKET_MS}"
    )
    pruned = f"(SELECT '{PRUNED}' AS execution, '{PRUNED}' AS tier, * FROM {all_sums(schema)}) AS counted"  # noqa: S608 (own names)
    return [(rows, "quarter", max(first, whole), end), (pruned, "quarter", first, min(end, whole))]


def uncertain_costs(db: Connection, schema: str, span: Span) -> UncertainCosts:
    """Return how much of a span's cost is estimated or bounded."""
    own = "" if span.workspace is None else " AND coalesce(workspace, '') = %(workspace)s"
    # Where the usage was reported, only the price is uncertain, and the highest known price was taken.
    sql = f"""
        SELECT cost_basis, count(*), coalesce(sum(cost_picousd), 0), coalesce(sum(
            CASE WHEN cost_basis = 'estimated' AND usage_source = 'reported' THEN greatest(cost_picousd, 0)
            WHEN cost_picousd IS NOT NULL AND reserved_picousd IS NOT NULL THEN greatest(cost_picousd, reserved_picousd)
            END
        ), 0)
        FROM {schema}.attempts
        WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least')
            AND started_ms >= %(since_ms)s AND started_ms < %(until_ms)s{own}
        GROUP BY cost_basis
    """  # noqa: S608 (own names)
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    return UncertainCosts(**{basis: Part(*map(int, sums)) for basis, *sums in db.execute(sql.encode(), values)})


def cached_usage(db: Connection, schema: str, span: Span) -> list[CachedUsage]:
    """Return the tokens of a span that were read from and written to prompt caches, without pruned rows."""
    own = "" if span.workspace is None else " AND coalesce(workspace, '') = %(workspace)s"
    sql = f"""
        SELECT price, (input_tokens - 1) / {CACHED_STEP} AS step, sum(coalesce(cached_input_tokens, 0)),
            sum(coalesce(cache_write_tokens, 0)), sum(coalesce(cache_write_1h_tokens, 0))
        FROM {schema}.attempts
        WHERE (cached_input_tokens > 0 OR cache_write_tokens > 0) AND status <> 'pending' AND price IS NOT NULL
            AND input_tokens > 0 AND started_ms >= %(since_ms)s AND started_ms < %(until_ms)s{own}
        GROUP BY price, step
    """  # noqa: S608 (own names)
    values = {"since_ms": span.since_ms or 0, "until_ms": span.until_ms, "workspace": span.workspace}
    return [CachedUsage(price, *map(int, tokens)) for price, *tokens in db.execute(sql.encode(), values)]


def summed_status(db: Connection, schema: str, cap: Cap) -> BudgetStatus:
    """Return the status of a cap, summed from the rollups and the pending rows."""
    sql = f"SELECT * FROM {schema}.sums_of_window_1(%(workspace)s, %(start_ms)s, %(end_ms)s)"  # noqa: S608
    row = db.execute(sql.encode(), window_json(cap)).fetchone()
    assert row is not None
    return BudgetStatus(cap, *row)


def workspaces(db: Connection, schema: str) -> list[str]:
    """Return the names of all workspaces."""
    sql = f"""
        SELECT workspace FROM {schema}.days WHERE workspace > '' UNION SELECT workspace FROM {schema}.deltas
        WHERE workspace > '' ORDER BY workspace
    """  # noqa: S608 (own names)
    return [name for (name,) in db.execute(sql.encode())]
