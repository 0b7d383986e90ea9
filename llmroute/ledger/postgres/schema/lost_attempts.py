"""Migration 3: the statement that reads statistics settles attempts as lost after their deadline, in turns.

Functions of migration 1 are replaced; their arguments stay, and older clients ignore what is added to a result.
"""

from __future__ import annotations

from typing import Final

GIVEN_UP_AT_ONCE: Final = 250
"""The most attempts of dead hosts that are settled in one transaction: others wait for their windows meanwhile."""

GIVE_UP = f"""
-- Settles those whose deadline passed first; returns how many.
CREATE OR REPLACE FUNCTION {{schema}}.give_up_1(now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    dead bigint[];
    workspaces text[];
    first_ms bigint;
    last_ms bigint;
    count bigint;
BEGIN
    SELECT array_agg(id), array_agg(DISTINCT coalesce(workspace, '')), min(started_ms), max(started_ms)
        INTO dead, workspaces, first_ms, last_ms
        FROM (
            SELECT id, workspace, started_ms FROM {{schema}}.attempts
            WHERE status = 'pending' AND deadline_ms < now_ms ORDER BY deadline_ms LIMIT {GIVEN_UP_AT_ONCE}
        ) AS oldest;
    IF dead IS NULL OR NOT pg_try_advisory_xact_lock(hashtext('llmroute give up'), hashtext({{schema_text}})) THEN
        RETURN 0;
    END IF;
    LOCK TABLE {{schema}}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {{schema}}.lock_windows_1(workspaces, first_ms, last_ms);
    UPDATE {{schema}}.attempts AS attempt SET status = 'lost', settled_ms = now_ms,
        cost_picousd = CASE WHEN attempt.cost_basis = 'estimated' THEN attempt.expected_picousd
            ELSE attempt.reserved_picousd END,
        cost_basis = coalesce(attempt.cost_basis, 'at_most')
        WHERE id = ANY (dead) AND started_ms BETWEEN first_ms AND last_ms AND status = 'pending';
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;

CREATE OR REPLACE FUNCTION {{schema}}.recall_1() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    given_up bigint := 0;
BEGIN
    PERFORM set_config('lock_timeout', '1000', true);
    BEGIN
        given_up := {{schema}}.give_up_1({{schema}}.now_ms_1());
    EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction OR lock_not_available THEN
        NULL;
    END;
    RETURN (
        SELECT jsonb_build_object(
            'now_ms', {{schema}}.now_ms_1(),
            'oldest_client', known.oldest_client, 'schema_version', known.version,
            'version', memory.version, 'state', memory.state,
            'lessons', (SELECT coalesce(jsonb_agg(jsonb_build_array(id, lesson) ORDER BY id), '[]')
                FROM {{schema}}.lessons),
            'probes', (SELECT coalesce(jsonb_agg(jsonb_build_array(kind, provider, model, owner, until_ms)), '[]')
                FROM {{schema}}.probes),
            'caps_version', (SELECT version FROM {{schema}}.caps_version),
            'caps', (SELECT coalesce(jsonb_agg(jsonb_build_array(workspace, period, cap_picousd, zone)
                ORDER BY workspace, period), '[]') FROM {{schema}}.caps),
            'unmerged', (SELECT count(*) FROM (SELECT 1 FROM {{schema}}.deltas LIMIT 1001) AS few),
            'given_up', given_up
        ) FROM {{schema}}.memory CROSS JOIN {{schema}}.version AS known
    );
END $$;
"""  # noqa: S608 (own names)
