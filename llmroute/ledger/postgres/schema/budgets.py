"""Budgets: the windows that every write locks, the admission of an attempt under caps, and shared caps."""

from __future__ import annotations

# The first lock of every write: one that opens a window waits for all others, and counts what they have written.
WINDOWS = """
CREATE FUNCTION {schema}.open_windows_1(wanted jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM jsonb_to_recordset(wanted) AS cap (workspace text, start_ms bigint, end_ms bigint)
        WHERE NOT EXISTS (
            SELECT 1 FROM {schema}.windows AS known WHERE known.workspace = cap.workspace
            AND known.start_ms = cap.start_ms AND known.end_ms = cap.end_ms
        )
    ) THEN
        LOCK TABLE {schema}.windows IN ROW EXCLUSIVE MODE;
        RETURN;
    END IF;
    LOCK TABLE {schema}.windows IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO {schema}.windows
        SELECT DISTINCT cap.workspace, cap.start_ms, cap.end_ms, sums.spent_picousd, sums.reserved_picousd
        FROM jsonb_to_recordset(wanted) AS cap (workspace text, start_ms bigint, end_ms bigint)
        CROSS JOIN LATERAL {schema}.sums_of_window_1(cap.workspace, cap.start_ms, cap.end_ms) AS sums
        ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION {schema}.lock_windows_1(workspaces text[], first_ms bigint, last_ms bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM {schema}.windows
    WHERE (workspace = '' OR workspace = ANY (workspaces)) AND start_ms <= last_ms AND end_ms > first_ms
    ORDER BY workspace, start_ms, end_ms FOR UPDATE;
END $$;
"""

_ADMIT = """
CREATE FUNCTION {schema}.admit_1(entry jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    prompt numeric := (entry -> 'worst' ->> 0)::numeric;
    token numeric := (entry -> 'worst' ->> 1)::numeric;
    tokens numeric := (entry -> 'worst' ->> 2)::numeric;
    tightest record;
BEGIN
    SELECT cap.number, known.spent_picousd, known.reserved_picousd,
        cap.cap_picousd - known.spent_picousd - known.reserved_picousd AS remaining INTO tightest
    FROM jsonb_to_recordset(entry -> 'caps')
        AS cap (number bigint, workspace text, start_ms bigint, end_ms bigint, cap_picousd bigint)
    JOIN {schema}.windows AS known USING (workspace, start_ms, end_ms)
    ORDER BY remaining, cap.number LIMIT 1;
    IF FOUND THEN
        IF prompt + (entry -> 'worst' ->> 3)::numeric * token > tightest.remaining THEN
            RETURN jsonb_build_object('over', jsonb_build_array(
                tightest.number, tightest.spent_picousd, tightest.reserved_picousd
            ));
        END IF;
        IF token > 0 THEN
            tokens := least(tokens, div(tightest.remaining - prompt, token));
        END IF;
    END IF;
    RETURN jsonb_build_object('reserved', prompt + tokens * token);
END $$;
"""

_WARNINGS = """
CREATE FUNCTION {schema}.claim_warnings_1(caps jsonb, warn_at float8) RETURNS jsonb LANGUAGE sql AS $$
    WITH spent AS (
        SELECT cap.number, cap.period, workspace, start_ms, cap.cap_picousd, known.spent_picousd, known.reserved_picousd
        FROM jsonb_to_recordset(caps)
            AS cap (number bigint, period text, workspace text, start_ms bigint, end_ms bigint, cap_picousd bigint)
        JOIN {schema}.windows AS known USING (workspace, start_ms, end_ms)
        WHERE cap.cap_picousd * warn_at > 0 AND known.spent_picousd >= cap.cap_picousd * warn_at
    ), claimed AS (
        INSERT INTO {schema}.budget_warnings SELECT period, workspace, start_ms, cap_picousd FROM spent
        ON CONFLICT DO NOTHING RETURNING period, workspace, start_ms, cap_picousd
    )
    SELECT coalesce(jsonb_agg(jsonb_build_array(number, spent_picousd, reserved_picousd) ORDER BY number), '[]')
    FROM spent JOIN claimed USING (period, workspace, start_ms, cap_picousd)
$$;
"""


def set_cap(first: str = "") -> str:
    """Return the function that sets a shared cap, with statements before."""
    return f"""
CREATE FUNCTION {{schema}}.set_cap_1(of_workspace text, of_period text, picousd bigint, of_zone text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN{first}
    UPDATE {{schema}}.caps_version SET version = version + 1;
    IF picousd IS NULL THEN
        DELETE FROM {{schema}}.caps WHERE workspace = of_workspace AND period = of_period;
    ELSE
        INSERT INTO {{schema}}.caps VALUES (of_workspace, of_period, picousd, of_zone)
        ON CONFLICT (workspace, period) DO UPDATE SET cap_picousd = excluded.cap_picousd, zone = excluded.zone;
    END IF;
END $$;
"""  # noqa: S608 (own names)


ADMISSION = _ADMIT + set_cap() + _WARNINGS
