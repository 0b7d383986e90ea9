"""The server's clock, and the partitions of attempts: one for each month, made when its first attempt comes."""

from __future__ import annotations

CLOCK = """
CREATE FUNCTION {schema}.now_ms_1() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;
"""

# With the rights of the owner: a role that may only write calls needs partitions too.
MONTHS = """
CREATE FUNCTION {schema}.make_month_1(at_ms bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamp := date_trunc('month', to_timestamp(at_ms / 1000) AT TIME ZONE 'UTC');
    month text := 'attempts_' || to_char(first, 'YYYY_MM');
BEGIN
    IF NOT has_table_privilege(session_user, {schema_ident_text} || '.attempts', 'INSERT') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied for table attempts';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('llmroute'), hashtext({schema_text}));
    IF to_regclass(format('%s.%I', {schema_ident_text}, month)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %s.%I (LIKE %1$s.attempts INCLUDING DEFAULTS)', {schema_ident_text}, month);
    EXECUTE format(
        'ALTER TABLE %s.attempts ATTACH PARTITION %1$s.%I FOR VALUES FROM (%s) TO (%s)', {schema_ident_text}, month,
        floor(extract(epoch FROM first AT TIME ZONE 'UTC') * 1000)::bigint,
        floor(extract(epoch FROM (first + interval '1 month') AT TIME ZONE 'UTC') * 1000)::bigint
    );
END $$;

CREATE FUNCTION {schema}.require_month_1(at_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(
        {schema_ident_text} || '.attempts_' || to_char(to_timestamp(at_ms / 1000) AT TIME ZONE 'UTC', 'YYYY_MM')
    ) IS NULL THEN
        PERFORM {schema}.make_month_1(at_ms);
    END IF;
END $$;
"""
