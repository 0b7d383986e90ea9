"""The claims of callers that probe half-open circuits."""

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
