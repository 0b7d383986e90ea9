"""The claims of callers that probe half-open circuits.

Migration 3 replaces `knows_latest_1`; its arguments are those that older clients know.
"""

from __future__ import annotations

PROBES = """
CREATE FUNCTION {schema}.claim_probes_1(claim jsonb, now_ms bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    circuit jsonb;
BEGIN
    FOR circuit IN SELECT value FROM jsonb_array_elements(claim -> 'circuits') LOOP
        INSERT INTO {schema}.probes AS known VALUES (
            circuit ->> 0, circuit ->> 1, circuit ->> 2, claim ->> 'owner', (claim ->> 'until_ms')::bigint
        )
        ON CONFLICT (kind, provider, model) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms
        WHERE known.until_ms <= now_ms OR known.owner = excluded.owner;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'LR001';
        END IF;
    END LOOP;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'LR001' THEN
    RETURN false;
END $$;

CREATE FUNCTION {schema}.knows_latest_1(of_provider text, seen jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT (SELECT version FROM {schema}.memory) = (seen ->> 0)::bigint AND NOT EXISTS (
        SELECT 1 FROM {schema}.lessons WHERE id > (seen ->> 1)::bigint AND trips AND provider = of_provider
    )
$$;
"""

CIRCUITS = """
-- `seen` is the version of the memory, the last lesson, and since this revision those that trip circuits: one with a
-- lower id than the last may be committed after it.
CREATE OR REPLACE FUNCTION {schema}.knows_latest_1(of_provider text, seen jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT (SELECT version FROM {schema}.memory) = (seen ->> 0)::bigint AND NOT EXISTS (
        SELECT 1 FROM {schema}.lessons WHERE trips AND provider = of_provider
        AND CASE WHEN jsonb_typeof(seen -> 2) = 'array' THEN NOT seen -> 2 @> to_jsonb(id)
            ELSE id > (seen ->> 1)::bigint END
    )
$$;
"""
