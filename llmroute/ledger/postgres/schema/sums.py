"""The sums of attempts: a trigger appends what each adds, and a merge adds that up."""

from __future__ import annotations

from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, DAY_MS
from llmroute.ledger.postgres.schema.tables import FIRST_COUNTERS, ROLLUP_KEY


def contribution(row: str, counters: tuple[str, ...] = FIRST_COUNTERS) -> tuple[list[str], list[str]]:
    """Return the key and the counters that a row adds to the sums, as SQL."""
    values = {
        "quarter": f"{row}.started_ms / {BUCKET_MS}",
        "workspace": f"coalesce({row}.workspace, '')",
        "task": f"coalesce({row}.task, '')",
        "strategy": f"coalesce({row}.strategy, '')",
        "call_count": "1",
        "unknown_cost_count": f"({row}.cost_picousd IS NULL)::int",
        "fallback_cost_picousd": f"CASE WHEN {row}.attempt > 1 THEN coalesce({row}.cost_picousd, 0) ELSE 0 END",
        "cache_saved_picousd": f"""CASE WHEN greatest({row}.cached_input_tokens, {row}.cache_write_tokens) > 0
            THEN {{schema}}.cache_saved_1({row}.price, {row}.input_tokens, {row}.cached_input_tokens,
                {row}.cache_write_tokens, {row}.cache_write_1h_tokens)
            ELSE 0 END""",
    }
    key = [values.get(name, f"{row}.{name}") for name in ROLLUP_KEY]
    return key, [values.get(name, f"coalesce({row}.{name}, 0)") for name in counters]


def delta(row: str, sign: str, counters: tuple[str, ...]) -> str:
    """Return the statement that appends what a row adds to the sums, or takes from them."""
    key, values = contribution(row, counters)
    return (
        f"INSERT INTO {{schema}}.deltas ({', '.join((*ROLLUP_KEY, *counters))})"  # noqa: S608 (own names)
        f" VALUES ({', '.join(key)}, {', '.join(f'{sign} {value}' for value in values)});"
    )


def count_attempt(counters: tuple[str, ...]) -> str:
    """Return the function of the trigger that appends what a changed attempt adds to the sums."""
    return f"""
CREATE FUNCTION {{schema}}.count_attempt_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    spent bigint := CASE WHEN NEW.status = 'pending' THEN 0 ELSE coalesce(NEW.cost_picousd, 0) END;
    reserved bigint := CASE WHEN NEW.status = 'pending' THEN coalesce(NEW.reserved_picousd, 0) ELSE 0 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status = 'pending' THEN
            reserved := reserved - coalesce(OLD.reserved_picousd, 0);
        ELSE
            spent := spent - coalesce(OLD.cost_picousd, 0);
            {delta("OLD", "-", counters)}
        END IF;
    END IF;
    IF NEW.status <> 'pending' THEN
        {delta("NEW", "+", counters)}
    END IF;
    UPDATE {{schema}}.windows SET spent_picousd = spent_picousd + spent, reserved_picousd = reserved_picousd + reserved
    WHERE workspace IN ('', coalesce(NEW.workspace, '')) AND start_ms <= NEW.started_ms AND end_ms > NEW.started_ms
        AND (spent <> 0 OR reserved <> 0);
    RETURN NULL;
END $$;
"""  # noqa: S608 (own names)


SUMMING = f"""{count_attempt(FIRST_COUNTERS)}
CREATE TRIGGER count_attempt AFTER INSERT OR UPDATE ON {{schema}}.attempts
    FOR EACH ROW EXECUTE FUNCTION {{schema}}.count_attempt_1();

CREATE FUNCTION {{schema}}.sums_of_window_1(of_workspace text, since_ms bigint, until_ms bigint)
RETURNS TABLE (spent_picousd bigint, reserved_picousd bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE
    since bigint := since_ms / {BUCKET_MS};
    until bigint := until_ms / {BUCKET_MS};
    first_day bigint := (since_ms + {DAY_MS - 1}) / {DAY_MS};
    end_day bigint := greatest(until_ms / {DAY_MS}, first_day);
BEGIN
    -- Whole days, the quarters before and after them, and what is not merged yet.
    RETURN QUERY SELECT
        (
            SELECT coalesce(sum(sums.cost), 0)::bigint FROM (
                SELECT workspace, cost_picousd AS cost FROM {{schema}}.days WHERE day >= first_day AND day < end_day
                UNION ALL SELECT workspace, cost_picousd FROM {{schema}}.rollups
                WHERE quarter >= since AND quarter < least(first_day * {BUCKETS_PER_DAY}, until)
                UNION ALL SELECT workspace, cost_picousd FROM {{schema}}.rollups
                WHERE quarter >= end_day * {BUCKETS_PER_DAY} AND quarter < until
                UNION ALL SELECT workspace, cost_picousd FROM {{schema}}.deltas
                WHERE quarter >= since AND quarter < until
            ) AS sums
            WHERE of_workspace IN ('', sums.workspace)
        ),
        (
            SELECT coalesce(sum(pending.reserved_picousd), 0)::bigint FROM {{schema}}.attempts AS pending
            WHERE pending.status = 'pending' AND of_workspace IN ('', coalesce(pending.workspace, ''))
                AND pending.started_ms >= since_ms AND pending.started_ms < until_ms
        );
END $$;
"""  # noqa: S608 (own names)


def added(table: str, key: tuple[str, ...], counters: tuple[str, ...], source: str) -> str:
    """Return the statement that adds the sums of a source by a key to a table."""
    names, sums = ", ".join(key), ", ".join(f"sum({name})" for name in counters)
    more = ", ".join(f"{name} = known.{name} + excluded.{name}" for name in counters)
    columns = "" if counters == FIRST_COUNTERS else f" ({', '.join((*key, *counters))})"
    return (
        f"INSERT INTO {{schema}}.{table} AS known{columns} SELECT {names}, {sums} FROM {source}"  # noqa: S608 (own names)
        f" GROUP BY {names} ORDER BY {names} ON CONFLICT ({names}) DO UPDATE SET {more}"
    )


# How a merge selects deltas.  Where the statistics of the server say that the table is small, it runs the first form as
# nested loops, which takes minutes; the second form always uses the primary key.
FIRST_CHOICE = "IN ({chosen})"
BY_KEY = "= ANY (ARRAY({chosen}))"


def merge(coarse: dict[str, tuple[str, ...]], counters: tuple[str, ...], among: str = FIRST_CHOICE) -> str:
    """Return the function that moves deltas into the rollups, and adds them to the coarse tables."""
    chosen = among.format(chosen="SELECT id FROM {schema}.deltas ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED")
    days = f"(SELECT quarter / {BUCKETS_PER_DAY} AS day, * FROM gone) AS days"  # noqa: S608 (own names)
    merged = "".join(
        f""", merged_{table} AS (
        {added(table, key, counters, days if key[0] == "day" else "gone")}
    )"""
        for table, key in coarse.items()
    )
    return f"""
CREATE FUNCTION {{schema}}.merge_1(most bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('llmroute merge'), hashtext({{schema_text}})) THEN
        RETURN 0;
    END IF;
    WITH gone AS (
        DELETE FROM {{schema}}.deltas
        WHERE id {chosen} RETURNING *
    ), merged AS (
        {added("rollups", ROLLUP_KEY, counters, "gone")}
    ){merged}
    SELECT count(*) INTO count FROM gone;
    RETURN count;
END $$;
"""  # noqa: S608 (own names)
