"""How entries are written: a group in one call, which is one transaction."""

from __future__ import annotations

from llmroute.ledger.attempt_row import COLUMNS

_IDENTITY = ("request_id", "attempt", "started_ms")
_CHANGED = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in _IDENTITY)


def begin(late: str = "") -> str:
    """Return the function that begins an attempt, with a statement before its admission."""
    return f"""
CREATE FUNCTION {{schema}}.begin_1(entry jsonb, now_ms bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    made {{schema}}.attempts := jsonb_populate_record(NULL::{{schema}}.attempts, entry -> 'row');
    claim jsonb := nullif(entry -> 'claim', 'null');
    admitted jsonb;
BEGIN
    SELECT reserved_picousd INTO made.reserved_picousd FROM {{schema}}.attempts
    WHERE request_id = made.request_id AND attempt = made.attempt AND started_ms = made.started_ms;
    IF FOUND THEN
        -- It was sent twice.
        RETURN jsonb_build_object('reserved', made.reserved_picousd);
    END IF;
    made.reserved_picousd := (entry -> 'row' ->> 'reserved_picousd')::bigint;{late}
    IF jsonb_typeof(entry -> 'worst') = 'array' THEN
        admitted := {{schema}}.admit_1(entry);
        IF admitted ? 'over' THEN
            RETURN admitted;
        END IF;
        made.reserved_picousd := (admitted ->> 'reserved')::bigint;
    END IF;
    IF claim IS NOT NULL THEN
        IF NOT {{schema}}.knows_latest_1(made.provider, claim -> 'seen') THEN
            RETURN jsonb_build_object('outdated', true);
        END IF;
        IF NOT {{schema}}.claim_probes_1(claim, now_ms) THEN
            RETURN jsonb_build_object('probed', true);
        END IF;
    END IF;
    made.id := nextval('{{schema}}.attempt_ids');
    INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO NOTHING;
    IF NOT FOUND THEN
        SELECT reserved_picousd INTO made.reserved_picousd FROM {{schema}}.attempts
        WHERE request_id = made.request_id AND attempt = made.attempt AND started_ms = made.started_ms;
    ELSIF (entry ->> 'retry')::boolean THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson) VALUES (made.provider, false, jsonb_build_object(
            'kind', 'retry', 'provider', made.provider, 'at_ms', made.started_ms
        ));
    END IF;
    RETURN jsonb_build_object('reserved', made.reserved_picousd);
END $$;
"""  # noqa: S608 (own names)


def settle(late: str = "") -> str:
    """Return the function that ends an attempt, with a statement before its row is changed or added."""
    return f"""
CREATE FUNCTION {{schema}}.settle_1(entry jsonb, now_ms bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    made {{schema}}.attempts := jsonb_populate_record(NULL::{{schema}}.attempts, entry -> 'row');
    lesson jsonb := nullif(entry -> 'lesson', 'null');
BEGIN{late}
    made.id := nextval('{{schema}}.attempt_ids');
    INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO UPDATE
        SET {_CHANGED}
        WHERE (attempts.status IN ('pending', 'lost') AND excluded.status <> 'pending'
            OR attempts.status = 'ok' AND excluded.status = 'rejected') AND attempts.corrected_ms IS NULL;
    IF lesson ->> 'kind' = 'check' THEN
        INSERT INTO {{schema}}.verdicts VALUES (made.request_id, made.attempt, now_ms) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            INSERT INTO {{schema}}.lessons (provider, trips, lesson) VALUES (made.provider, false, lesson);
        END IF;
    ELSIF FOUND AND lesson IS NOT NULL THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson)
            VALUES (made.provider, jsonb_typeof(lesson -> 'trip') = 'array', lesson);
        DELETE FROM {{schema}}.probes WHERE provider = made.provider AND model IN (made.model, '')
            AND kind IN (SELECT jsonb_array_elements_text(lesson -> 'kinds'));
    END IF;
    RETURN jsonb_build_object('near', CASE WHEN jsonb_typeof(entry -> 'watch') = 'object' THEN
        {{schema}}.claim_warnings_1(entry -> 'watch' -> 'caps', (entry -> 'watch' ->> 'warn_at')::float8) END);
END $$;
"""  # noqa: S608 (own names)


CHECK_CAPS = """\
    IF known_caps <> (SELECT version FROM {schema}.caps_version) THEN
        RETURN NULL;
    END IF;
"""


def write(before: str = CHECK_CAPS, after: str = "") -> str:
    """Return the function that writes entries, with statements before and after the table of windows is locked."""
    return f"""
-- Writes nothing where a caller knows other caps than `known_caps`; NULL is no matter which.
CREATE FUNCTION {{schema}}.write_1(entries jsonb, wanted jsonb, lock_timeout_ms bigint, known_caps bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    outcomes jsonb := '[]';
    entry jsonb;
    now_ms bigint := {{schema}}.now_ms_1();
BEGIN
{before}    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM {{schema}}.require_month_1(started_ms) FROM (
        SELECT DISTINCT (value -> 'row' ->> 'started_ms')::bigint AS started_ms FROM jsonb_array_elements(entries)
    ) AS rows;
    PERFORM {{schema}}.open_windows_1(wanted);
{after}    PERFORM {{schema}}.lock_windows_1(
        array_agg(DISTINCT coalesce(value -> 'row' ->> 'workspace', '')),
        min((value -> 'row' ->> 'started_ms')::bigint), max((value -> 'row' ->> 'started_ms')::bigint)
    ) FROM jsonb_array_elements(entries);
    FOR entry IN SELECT value FROM jsonb_array_elements(entries) WITH ORDINALITY ORDER BY ordinality LOOP
        IF (entry ->> 'begins')::boolean THEN
            outcomes := outcomes || jsonb_build_array({{schema}}.begin_1(entry, now_ms));
        ELSE
            outcomes := outcomes || jsonb_build_array({{schema}}.settle_1(entry, now_ms));
        END IF;
    END LOOP;
    RETURN outcomes;
END $$;
"""  # noqa: S608 (own names)


WRITES = begin() + settle() + write()
