"""The table and the functions with which a SQLite ledger is copied into a server."""

from __future__ import annotations

from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY

MOVES = f"""
CREATE TABLE {{schema}}.moves (
    -- The SQLite ledgers that were copied into this one, and the last row that was.
    source text PRIMARY KEY,
    last_id bigint NOT NULL
);

CREATE FUNCTION {{schema}}.begin_move_1(name text, learned jsonb, pruned_ms bigint, sums jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    done bigint;
BEGIN
    INSERT INTO {{schema}}.moves VALUES (name, 0) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT last_id INTO done FROM {{schema}}.moves WHERE source = name;
        RETURN done;
    END IF;
    INSERT INTO {{schema}}.lessons (provider, trips, lesson)
        VALUES ('', false, jsonb_build_object('kind', 'moved', 'state', learned));
    IF pruned_ms > 0 THEN
        LOCK TABLE {{schema}}.windows IN SHARE ROW EXCLUSIVE MODE;
        INSERT INTO {{schema}}.pruned AS known VALUES (1, pruned_ms)
            ON CONFLICT (id) DO UPDATE SET before_ms = greatest(known.before_ms, excluded.before_ms);
        INSERT INTO {{schema}}.deltas ({", ".join((*ROLLUP_KEY, *COUNTERS))})
            SELECT {", ".join((*ROLLUP_KEY, *COUNTERS))}
            FROM jsonb_populate_recordset(NULL::{{schema}}.rollups, sums);
        UPDATE {{schema}}.windows AS known SET spent_picousd = now.spent_picousd
        FROM {{schema}}.windows AS same
        CROSS JOIN LATERAL {{schema}}.sums_of_window_1(same.workspace, same.start_ms, same.end_ms) AS now
        WHERE (known.workspace, known.start_ms, known.end_ms) = (same.workspace, same.start_ms, same.end_ms);
    END IF;
    RETURN 0;
END $$;

CREATE FUNCTION {{schema}}.move_1(rows jsonb, name text, to_id bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made {{schema}}.attempts;
    added bigint := 0;
BEGIN
    PERFORM {{schema}}.require_month_1(started_ms) FROM (
        SELECT DISTINCT (value ->> 'started_ms')::bigint AS started_ms FROM jsonb_array_elements(rows)
    ) AS times;
    LOCK TABLE {{schema}}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {{schema}}.lock_windows_1(
        array_agg(DISTINCT coalesce(value ->> 'workspace', '')),
        min((value ->> 'started_ms')::bigint), max((value ->> 'started_ms')::bigint)
    ) FROM jsonb_array_elements(rows);
    FOR made IN SELECT * FROM jsonb_populate_recordset(NULL::{{schema}}.attempts, rows) LOOP
        made.id := nextval('{{schema}}.attempt_ids');
        INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO NOTHING;
        added := added + CASE WHEN FOUND THEN 1 ELSE 0 END;
    END LOOP;
    UPDATE {{schema}}.moves SET last_id = greatest(last_id, to_id) WHERE source = name;
    RETURN added;
END $$;
"""  # noqa: S608 (own names)
