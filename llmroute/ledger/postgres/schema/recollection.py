"""Functions that return the statistics for a plan, settle the attempts of dead hosts, and fold observations.

`lost_attempts` replaces `give_up_1` and `recall_1`.
"""

from __future__ import annotations

RECOLLECTION = """
CREATE FUNCTION {schema}.give_up_1(now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM {schema}.attempts WHERE status = 'pending' AND deadline_ms < now_ms) THEN
        RETURN 0;
    END IF;
    LOCK TABLE {schema}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {schema}.lock_windows_1(array_agg(DISTINCT coalesce(workspace, '')), min(started_ms), max(started_ms))
    FROM {schema}.attempts WHERE status = 'pending' AND deadline_ms < now_ms;
    UPDATE {schema}.attempts AS attempt SET status = 'lost', settled_ms = now_ms,
        cost_picousd = CASE WHEN attempt.cost_basis = 'estimated' THEN attempt.expected_picousd
            ELSE attempt.reserved_picousd END,
        cost_basis = coalesce(attempt.cost_basis, 'at_most')
    FROM (
        SELECT request_id, attempt, started_ms FROM {schema}.attempts
        WHERE status = 'pending' AND deadline_ms < now_ms
        ORDER BY request_id, attempt, started_ms FOR UPDATE SKIP LOCKED
    ) AS dead
    WHERE attempt.request_id = dead.request_id AND attempt.attempt = dead.attempt
        AND attempt.started_ms = dead.started_ms AND attempt.status = 'pending';
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;

CREATE FUNCTION {schema}.recall_1() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '1000', true);
    BEGIN
        PERFORM {schema}.give_up_1({schema}.now_ms_1());
    EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction OR lock_not_available THEN
        NULL;
    END;
    RETURN (
        SELECT jsonb_build_object(
            'now_ms', {schema}.now_ms_1(),
            'oldest_client', (SELECT oldest_client FROM {schema}.version),
            'version', memory.version, 'state', memory.state,
            'lessons', (SELECT coalesce(jsonb_agg(jsonb_build_array(id, lesson) ORDER BY id), '[]')
                FROM {schema}.lessons),
            'probes', (SELECT coalesce(jsonb_agg(jsonb_build_array(kind, provider, model, owner, until_ms)), '[]')
                FROM {schema}.probes),
            'caps_version', (SELECT version FROM {schema}.caps_version),
            'caps', (SELECT coalesce(jsonb_agg(jsonb_build_array(workspace, period, cap_picousd, zone)
                ORDER BY workspace, period), '[]') FROM {schema}.caps),
            'unmerged', (SELECT count(*) FROM (SELECT 1 FROM {schema}.deltas LIMIT 1001) AS few)
        ) FROM {schema}.memory
    );
END $$;

CREATE FUNCTION {schema}.fold_1(of_version bigint, folded jsonb, ids bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.memory SET state = folded, version = version + 1 WHERE version = of_version;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.lessons WHERE id = ANY (ids);
    DELETE FROM {schema}.verdicts WHERE at_ms < {schema}.now_ms_1() - 86400000;
    RETURN true;
END $$;
"""
