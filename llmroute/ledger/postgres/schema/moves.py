"""The tables and the functions with which a SQLite ledger is copied into a server."""

from __future__ import annotations

from llmroute.ledger.postgres.schema.sums import contribution
from llmroute.ledger.postgres.schema.tables import FIRST_COUNTERS, ROLLUP_KEY, columns_of

_KEY = ", ".join(ROLLUP_KEY)
# A later settling or correction may change the status of a row that is there.
_CALLS = ", ".join(name for name in ROLLUP_KEY if name != "status")


def _add(counters: tuple[str, ...]) -> str:
    added = ", ".join(f"{name} = known.{name} + excluded.{name}" for name in counters)
    return f"ON CONFLICT (source, {_KEY}) DO UPDATE SET {added}"


_TABLES = f"""
CREATE TABLE {{schema}}.identity (
    -- One row: the identity of this ledger, which its copies in SQLite files have too.
    id bigint PRIMARY KEY CHECK (id = 1),
    ledger text COLLATE "C" NOT NULL
);
INSERT INTO {{schema}}.identity VALUES (1, gen_random_uuid()::text);

CREATE TABLE {{schema}}.moves (
    -- The SQLite ledgers that were copied into this one, by their identity; all rows up to `last_id` are here, if
    -- `last_call` is the call of that row: other copies of the ledger may have gone on in another way.
    source text COLLATE "C" PRIMARY KEY,
    last_id bigint NOT NULL,
    last_call text NOT NULL
);

-- What each of them has added to the sums.
CREATE TABLE {{schema}}.moved_sums (
    source text COLLATE "C" NOT NULL,
    {columns_of(ROLLUP_KEY)},
    PRIMARY KEY (source, {_KEY})
);

CREATE FUNCTION {{schema}}.begin_move_1(of_source text, learned jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {{schema}}.moves VALUES (of_source, 0, '') ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson)
            VALUES ('', false, jsonb_build_object('kind', 'moved', 'state', learned));
    END IF;
    RETURN (
        SELECT jsonb_build_object('last_id', last_id, 'last_call', last_call, 'pruned_ms', coalesce(before_ms, 0))
        FROM {{schema}}.moves LEFT JOIN {{schema}}.pruned ON true WHERE source = of_source
    );
END $$;
"""  # noqa: S608 (own names)


def move(counters: tuple[str, ...], before: str = "") -> str:
    """Return the function that adds rows of a source, with a statement before each."""
    key, values = contribution("attempt", counters)
    return f"""
-- `to_id` is NULL where no further row can be passed over the next time.
CREATE FUNCTION {{schema}}.move_1(rows jsonb, of_source text, to_id bigint, to_call text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made {{schema}}.attempts;
    added {{schema}}.attempts[];
BEGIN
    PERFORM 1 FROM {{schema}}.moves WHERE source = of_source FOR UPDATE;
    PERFORM {{schema}}.require_month_1(started_ms) FROM (
        SELECT DISTINCT (value ->> 'started_ms')::bigint AS started_ms FROM jsonb_array_elements(rows)
    ) AS times;
    LOCK TABLE {{schema}}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {{schema}}.lock_windows_1(
        array_agg(DISTINCT coalesce(value ->> 'workspace', '')),
        min((value ->> 'started_ms')::bigint), max((value ->> 'started_ms')::bigint)
    ) FROM jsonb_array_elements(rows);
    FOR made IN SELECT * FROM jsonb_populate_recordset(NULL::{{schema}}.attempts, rows) LOOP{before}
        made.id := nextval('{{schema}}.attempt_ids');
        INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO NOTHING;
        IF FOUND THEN
            added := added || made;
        END IF;
    END LOOP;
    INSERT INTO {{schema}}.moved_sums AS known
        SELECT of_source, {", ".join(key)}, {", ".join(f"sum({value})" for value in values)}
        FROM unnest(added) AS attempt GROUP BY {", ".join(key)} {_add(counters)};
    UPDATE {{schema}}.moves SET last_id = to_id, last_call = to_call WHERE source = of_source AND to_id IS NOT NULL;
    RETURN coalesce(cardinality(added), 0);
END $$;
"""  # noqa: S608 (own names)


def end_move(counters: tuple[str, ...]) -> str:
    """Return the function that adds the sums of rows that were deleted."""
    names = ", ".join(counters)
    # Older clients do not send newer counters.
    sent = names if counters == FIRST_COUNTERS else ", ".join(f"coalesce({name}, 0) AS {name}" for name in counters)
    add = _add(counters)
    return f"""
-- Adds what the sums of a source before a quarter have that no row of it brought: the rows were deleted.  A copy of
-- this ledger brings none.
CREATE FUNCTION {{schema}}.end_move_1(of_source text, pruned_ms bigint, sums jsonb, before bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF of_source = (SELECT ledger FROM {{schema}}.identity) THEN
        RETURN;
    END IF;
    PERFORM 1 FROM {{schema}}.moves WHERE source = of_source FOR UPDATE;
    LOCK TABLE {{schema}}.windows IN SHARE ROW EXCLUSIVE MODE;
    IF pruned_ms > 0 THEN
        INSERT INTO {{schema}}.pruned AS known VALUES (1, pruned_ms)
            ON CONFLICT (id) DO UPDATE SET before_ms = greatest(known.before_ms, excluded.before_ms);
    END IF;
    WITH lacking AS (
        SELECT {_KEY}, {", ".join(f"sum({name}) AS {name}" for name in counters)} FROM (
            SELECT {_KEY}, {sent} FROM jsonb_populate_recordset(NULL::{{schema}}.rollups, sums)
            UNION ALL
            SELECT {_KEY}, {", ".join(f"-{name}" for name in counters)} FROM {{schema}}.moved_sums
            WHERE source = of_source AND quarter < before
        ) AS difference GROUP BY {_KEY}
    ), more AS (
        SELECT *, sum(call_count) OVER (PARTITION BY {_CALLS}) AS calls FROM lacking
    ), noted AS (
        INSERT INTO {{schema}}.moved_sums AS known SELECT of_source, {_KEY}, {names} FROM more WHERE calls > 0 {add}
    )
    INSERT INTO {{schema}}.deltas ({_KEY}, {names}) SELECT {_KEY}, {names} FROM more WHERE calls > 0;
    UPDATE {{schema}}.windows AS known SET spent_picousd = now.spent_picousd
    FROM {{schema}}.windows AS same
    CROSS JOIN LATERAL {{schema}}.sums_of_window_1(same.workspace, same.start_ms, same.end_ms) AS now
    WHERE (known.workspace, known.start_ms, known.end_ms) = (same.workspace, same.start_ms, same.end_ms);
END $$;
"""  # noqa: S608 (own names)


MOVES = _TABLES + move(FIRST_COUNTERS) + end_move(FIRST_COUNTERS)
