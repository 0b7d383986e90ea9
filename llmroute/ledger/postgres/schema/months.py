"""The server's clock, and the partitions of attempts: one for each month, made when its first attempt comes."""

from __future__ import annotations

CLOCK = """
CREATE FUNCTION {schema}.now_ms_1() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;
"""

_REQUIRE = """ FUNCTION {schema}.require_month_1(at_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(
        {schema_ident_text} || '.attempts_' || to_char(to_timestamp(at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY_MM')
    ) IS NULL THEN
        PERFORM {schema}.MAKE;
    END IF;
END $$;
"""


def _make(declared: str, is_allowed: str) -> str:
    """Return the function that makes a partition, with the rights of the owner: roles that only write need it too."""
    return f"""
CREATE FUNCTION {{schema}}.{declared} RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamp := date_trunc('month', to_timestamp(at_ms / 1000) AT TIME ZONE 'UTC');
    month text := 'attempts_' || to_char(first, 'YYYY_MM');
BEGIN
    IF NOT {is_allowed} THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for table attempts';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('llmroute'), hashtext({{schema_text}}));
    IF to_regclass(format('%s.%I', {{schema_ident_text}}, month)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %s.%I (LIKE %1$s.attempts INCLUDING DEFAULTS)', {{schema_ident_text}}, month);
    EXECUTE format(
        'ALTER TABLE %s.attempts ATTACH PARTITION %1$s.%I FOR VALUES FROM (%s) TO (%s)', {{schema_ident_text}}, month,
        floor(extract(epoch FROM first AT TIME ZONE 'UTC') * 1000)::bigint,
        floor(extract(epoch FROM (first + interval '1 month') AT TIME ZONE 'UTC') * 1000)::bigint
    );
END $$;
"""


def _allowed(role: str) -> str:
    return f"has_table_privilege({role}, {{schema_ident_text}} || '.attempts', 'INSERT')"


MONTHS = (
    _make("make_month_1(at_ms bigint)", _allowed("session_user"))
    + "\nCREATE"
    + _REQUIRE.replace("MAKE", "make_month_1(at_ms)")
)
# The role in force may be another than the one that logged in, by SET ROLE.
MONTHS_BY_ROLE = (
    _make(
        "make_month_2(at_ms bigint, as_role name)",
        f"(pg_has_role(session_user, as_role, 'MEMBER') AND {_allowed('as_role')})",
    )
    + "\nCREATE OR REPLACE"
    + _REQUIRE.replace("MAKE", "make_month_2(at_ms, current_user)")
)
