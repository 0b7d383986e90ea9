"""Migration 4: what prompt caches saved is one of the sums, and days have tasks and strategies, quarters workspaces.

The functions that older clients call are replaced: their attempts are counted in full too.
"""

from __future__ import annotations

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, NEVER_DAY
from llmroute.ledger.postgres.schema.moves import end_move, move
from llmroute.ledger.postgres.schema.sums import added, contribution, count_attempt, merge
from llmroute.ledger.postgres.schema.tables import COARSE, COUNTERS, ROLLUP_KEY, columns_of, granted_as_attempts

_NEW = ("task_days", "strategy_days", "quarters")


def _new_table(name: str) -> str:
    key = COARSE[name]
    return f"CREATE TABLE {{schema}}.{name} ({columns_of(key, COUNTERS)}, PRIMARY KEY ({', '.join(key)}));\n"


# In the order of reports, without a merge, and after every write in progress, which an older function counts.  Whoever
# reads for long must not keep all others waiting for this.
TABLES = f"""
SELECT set_config('lock_timeout', '1000', true);
SELECT pg_advisory_xact_lock(hashtext('llmroute merge'), hashtext({{schema_text}}));
LOCK TABLE {{schema}}.windows IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE {{schema}}.days, {{schema}}.rollups, {{schema}}.deltas, {{schema}}.moved_sums IN ACCESS EXCLUSIVE MODE;
ALTER TABLE {{schema}}.days ADD COLUMN cache_saved_picousd bigint NOT NULL DEFAULT 0;
ALTER TABLE {{schema}}.rollups ADD COLUMN cache_saved_picousd bigint NOT NULL DEFAULT 0;
ALTER TABLE {{schema}}.deltas ADD COLUMN cache_saved_picousd bigint NOT NULL DEFAULT 0;
ALTER TABLE {{schema}}.moved_sums ADD COLUMN cache_saved_picousd bigint NOT NULL DEFAULT 0;
{"".join(map(_new_table, _NEW))}
CREATE TABLE {{schema}}.coarse (
    -- One row: the new tables, and the new column of all, are complete from this UTC day on; `fill_1` lowers it to 0.
    id bigint PRIMARY KEY CHECK (id = 1),
    since_day bigint NOT NULL
);
INSERT INTO {{schema}}.coarse SELECT 1, CASE
    WHEN EXISTS (SELECT 1 FROM {{schema}}.rollups) OR EXISTS (SELECT 1 FROM {{schema}}.deltas) THEN {NEVER_DAY} ELSE 0
END;
{granted_as_attempts("task_days", "strategy_days", "quarters", "coarse")}"""  # noqa: S608 (own names)

# By the rules of `registry.pricing.token_charges`, as `sqlite.schema.cache_savings`.
_CACHE_SAVED = """
CREATE FUNCTION {schema}.cache_saved_1(
    of_price text, prompt bigint, cached bigint, wrote bigint, wrote_1h bigint
) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    price jsonb;
    input numeric;
    read numeric;
    written numeric;
    for_an_hour numeric;
    write_rate numeric;
BEGIN
    IF of_price IS NULL OR coalesce(prompt, 0) <= 0 THEN
        RETURN 0;
    END IF;
    price := of_price::jsonb;
    price := coalesce((
        SELECT tier FROM jsonb_array_elements(price -> 'tiers') AS tier
        WHERE (tier ->> 'above')::numeric < prompt ORDER BY (tier ->> 'above')::numeric DESC LIMIT 1
    ), price);
    input := (price ->> 'input')::numeric;
    IF input IS NULL OR price ->> 'output' IS NULL THEN
        RETURN 0;
    END IF;
    read := least(greatest(cached, 0), prompt);
    written := least(greatest(wrote, 0), prompt - read);
    for_an_hour := least(greatest(wrote_1h, 0), written);
    write_rate := coalesce((price ->> 'cache_write')::numeric, input);
    RETURN greatest(-1e15, least(1e15,
        read * (input - coalesce((price ->> 'cache_read')::numeric, input))
        + (written - for_an_hour) * (input - write_rate)
        + for_an_hour * (input - coalesce((price ->> 'cache_write_1h')::numeric, write_rate))
    ))::bigint;
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;
"""

_OF_ROLLUPS = f"""(
        SELECT quarter / {BUCKETS_PER_DAY} AS day, * FROM {{schema}}.rollups
        WHERE quarter >= first * {BUCKETS_PER_DAY} AND quarter < since * {BUCKETS_PER_DAY}
    ) AS summed"""  # noqa: S608 (own names)
_KEY = ", ".join(ROLLUP_KEY)
# The first quarter of which no attempt was pruned.
_WHOLE = f"(SELECT -div(-coalesce(max(before_ms), 0), {BUCKET_MS})::bigint FROM {{schema}}.pruned)"  # noqa: S608
_ROW_KEY, (*_, _SAVED) = contribution("attempt", COUNTERS)


def _fill_coarse(table: str) -> str:
    """Return the statement that adds what a coarse table lacks of the rollups: merges have added to it meanwhile."""
    key = COARSE[table]
    first = "first" if key[0] == "day" else f"first * {BUCKETS_PER_DAY}"
    since = "since" if key[0] == "day" else f"since * {BUCKETS_PER_DAY}"
    names, minus = ", ".join((*key, *COUNTERS)), ", ".join((*key, *(f"-{name}" for name in COUNTERS)))
    source = f"""(
        SELECT {names} FROM {_OF_ROLLUPS}
        UNION ALL SELECT {minus} FROM {{schema}}.{table} WHERE {key[0]} >= {first} AND {key[0]} < {since}
    ) AS lacking"""  # noqa: S608 (own names)
    return f"{added(table, key, COUNTERS, source)};"


# The savings that rollups and deltas lack.
_LACKING = f"""(
        SELECT *, {", ".join(f"0 AS {name}" for name in COUNTERS[:-1])} FROM (
            SELECT {_KEY}, sum(saved) AS {COUNTERS[-1]} FROM (
                SELECT {", ".join(f"{value} AS {name}" for value, name in zip(_ROW_KEY, ROLLUP_KEY, strict=True))},
                    {_SAVED} AS saved
                FROM {{schema}}.attempts AS attempt
                WHERE status <> 'pending' AND (cached_input_tokens > 0 OR cache_write_tokens > 0)
                    AND started_ms >= greatest(first * {BUCKETS_PER_DAY}, {_WHOLE}) * {BUCKET_MS}
                    AND started_ms < least(since, {NEVER_DAY // BUCKET_MS}) * {BUCKETS_PER_DAY} * {BUCKET_MS}
                UNION ALL
                SELECT {_KEY}, -cache_saved_picousd FROM {{schema}}.rollups
                WHERE quarter >= greatest(first * {BUCKETS_PER_DAY}, {_WHOLE}) AND quarter < since * {BUCKETS_PER_DAY}
                UNION ALL
                SELECT {_KEY}, -cache_saved_picousd FROM {{schema}}.deltas
                WHERE quarter >= greatest(first * {BUCKETS_PER_DAY}, {_WHOLE}) AND quarter < since * {BUCKETS_PER_DAY}
            ) AS difference GROUP BY {_KEY} HAVING sum(saved) <> 0
        ) AS savings
    ) AS lacking"""  # noqa: S608 (own names)

# Each statement sees rows and sums of one state, which later writes change alike, and merges wait: what the sums lacked
# of the rows then, they lack until it is added.
_FILL = f"""
CREATE FUNCTION {{schema}}.fill_1(days bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    since bigint := (SELECT since_day FROM {{schema}}.coarse);
    first bigint;
BEGIN
    IF since <= 0 THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('llmroute merge'), hashtext({{schema_text}}));
    SELECT since_day INTO since FROM {{schema}}.coarse;
    SELECT greatest(
        (SELECT max(quarter) FROM {{schema}}.rollups WHERE quarter < since * {BUCKETS_PER_DAY}),
        (SELECT max(quarter) FROM {{schema}}.deltas WHERE quarter < since * {BUCKETS_PER_DAY})
    ) / {BUCKETS_PER_DAY} - days + 1 INTO first;
    IF since <= 0 OR first IS NULL THEN
        UPDATE {{schema}}.coarse SET since_day = 0;
        RETURN 0;
    END IF;
    {added("rollups", ROLLUP_KEY, COUNTERS, _LACKING)};
    {"".join(f"{_fill_coarse(table)}{chr(10)}    " for table in COARSE)}UPDATE {{schema}}.coarse SET since_day = first;
    RETURN first;
END $$;
"""  # noqa: S608 (own names)

FUNCTIONS = (
    _CACHE_SAVED
    + "".join(
        function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        for function in (count_attempt(COUNTERS), merge(COARSE, COUNTERS), move(COUNTERS), end_move(COUNTERS))
    )
    + _FILL
)
