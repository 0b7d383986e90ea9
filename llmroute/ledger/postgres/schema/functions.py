"""The functions of the ledger on PostgreSQL: each is one statement of a client, in one round trip.

Their names end in a version, so that older clients go on beside newer ones.  Locks are taken in one order: months, the
table of windows, its rows by key, probes.
"""

from __future__ import annotations

from llmroute.ledger.attempt_row import COLUMNS
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY

_IDENTITY = ("request_id", "attempt", "started_ms")

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


def _delta(row: str, sign: str) -> str:
    """Return the statement that appends what a row adds to the sums, or takes from them."""
    values = {
        "quarter": f"{row}.started_ms / {BUCKET_MS}",
        "workspace": f"coalesce({row}.workspace, '')",
        "task": f"coalesce({row}.task, '')",
        "strategy": f"coalesce({row}.strategy, '')",
        "call_count": "1",
        "unknown_cost_count": f"({row}.cost_picousd IS NULL)::int",
        "fallback_cost_picousd": f"CASE WHEN {row}.attempt > 1 THEN coalesce({row}.cost_picousd, 0) ELSE 0 END",
    }
    key = ", ".join(values.get(name, f"{row}.{name}") for name in ROLLUP_KEY)
    counters = ", ".join(f"{sign} {values.get(name, f'coalesce({row}.{name}, 0)')}" for name in COUNTERS)
    return (
        f"INSERT INTO {{schema}}.deltas ({', '.join((*ROLLUP_KEY, *COUNTERS))})"  # noqa: S608 (own names)
        f" VALUES ({key}, {counters});"
    )


SUMMING = f"""
CREATE FUNCTION {{schema}}.count_attempt_1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    spent bigint := CASE WHEN NEW.status = 'pending' THEN 0 ELSE coalesce(NEW.cost_picousd, 0) END;
    reserved bigint := CASE WHEN NEW.status = 'pending' THEN coalesce(NEW.reserved_picousd, 0) ELSE 0 END;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.status = 'pending' THEN
            reserved := reserved - coalesce(OLD.reserved_picousd, 0);
        ELSE
            spent := spent - coalesce(OLD.cost_picousd, 0);
            {_delta("OLD", "-")}
        END IF;
    END IF;
    IF NEW.status <> 'pending' THEN
        {_delta("NEW", "+")}
    END IF;
    UPDATE {{schema}}.windows SET spent_picousd = spent_picousd + spent, reserved_picousd = reserved_picousd + reserved
    WHERE workspace IN ('', coalesce(NEW.workspace, '')) AND start_ms <= NEW.started_ms AND end_ms > NEW.started_ms
        AND (spent <> 0 OR reserved <> 0);
    RETURN NULL;
END $$;

CREATE TRIGGER count_attempt AFTER INSERT OR UPDATE ON {{schema}}.attempts
    FOR EACH ROW EXECUTE FUNCTION {{schema}}.count_attempt_1();

CREATE FUNCTION {{schema}}.sums_of_window_1(of_workspace text, since_ms bigint, until_ms bigint)
RETURNS TABLE (spent_picousd bigint, reserved_picousd bigint) LANGUAGE sql STABLE AS $$
    SELECT
        (
            SELECT coalesce(sum(cost_picousd), 0)::bigint FROM (
                SELECT quarter, workspace, cost_picousd FROM {{schema}}.rollups
                UNION ALL SELECT quarter, workspace, cost_picousd FROM {{schema}}.deltas
            ) AS sums
            WHERE of_workspace IN ('', workspace)
                AND quarter >= since_ms / {BUCKET_MS} AND quarter < until_ms / {BUCKET_MS}
        ),
        (
            SELECT coalesce(sum(reserved_picousd), 0)::bigint FROM {{schema}}.attempts
            WHERE status = 'pending' AND of_workspace IN ('', coalesce(workspace, ''))
                AND started_ms >= since_ms AND started_ms < until_ms
        )
$$;
"""  # noqa: S608 (own names)

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

ADMISSION = """
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

CREATE FUNCTION {schema}.set_cap_1(of_workspace text, of_period text, picousd bigint, of_zone text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.caps_version SET version = version + 1;
    IF picousd IS NULL THEN
        DELETE FROM {schema}.caps WHERE workspace = of_workspace AND period = of_period;
    ELSE
        INSERT INTO {schema}.caps VALUES (of_workspace, of_period, picousd, of_zone)
        ON CONFLICT (workspace, period) DO UPDATE SET cap_picousd = excluded.cap_picousd, zone = excluded.zone;
    END IF;
END $$;

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

_CHANGED = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS if column not in _IDENTITY)

WRITES = f"""
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
    made.reserved_picousd := (entry -> 'row' ->> 'reserved_picousd')::bigint;
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
    IF (entry ->> 'retry')::boolean THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson) VALUES (made.provider, false, jsonb_build_object(
            'kind', 'retry', 'provider', made.provider, 'at_ms', made.started_ms
        ));
    END IF;
    made.id := nextval('{{schema}}.attempt_ids');
    INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO NOTHING;
    IF NOT FOUND THEN
        SELECT reserved_picousd INTO made.reserved_picousd FROM {{schema}}.attempts
        WHERE request_id = made.request_id AND attempt = made.attempt AND started_ms = made.started_ms;
    END IF;
    RETURN jsonb_build_object('reserved', made.reserved_picousd);
END $$;

CREATE FUNCTION {{schema}}.settle_1(entry jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    made {{schema}}.attempts := jsonb_populate_record(NULL::{{schema}}.attempts, entry -> 'row');
    lesson jsonb := nullif(entry -> 'lesson', 'null');
BEGIN
    made.id := nextval('{{schema}}.attempt_ids');
    INSERT INTO {{schema}}.attempts SELECT (made).* ON CONFLICT (request_id, attempt, started_ms) DO UPDATE
        SET {_CHANGED}
        WHERE (attempts.status IN ('pending', 'lost') AND excluded.status <> 'pending'
            OR attempts.status = 'ok' AND excluded.status = 'rejected') AND attempts.corrected_ms IS NULL;
    IF lesson ->> 'kind' = 'check' THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson) VALUES (made.provider, false, lesson);
    ELSIF FOUND AND lesson IS NOT NULL THEN
        INSERT INTO {{schema}}.lessons (provider, trips, lesson)
            VALUES (made.provider, jsonb_typeof(lesson -> 'trip') = 'array', lesson);
        DELETE FROM {{schema}}.probes WHERE provider = made.provider AND model IN (made.model, '');
    END IF;
    RETURN jsonb_build_object('settled', true);
END $$;

-- Writes nothing where a caller knows other caps than `known_caps`; NULL is no matter which.
CREATE FUNCTION {{schema}}.write_1(entries jsonb, wanted jsonb, lock_timeout_ms bigint, known_caps bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    outcomes jsonb := '[]';
    entry jsonb;
    now_ms bigint := {{schema}}.now_ms_1();
BEGIN
    IF known_caps <> (SELECT version FROM {{schema}}.caps_version) THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM {{schema}}.require_month_1(started_ms) FROM (
        SELECT DISTINCT (value -> 'row' ->> 'started_ms')::bigint AS started_ms FROM jsonb_array_elements(entries)
    ) AS rows;
    PERFORM {{schema}}.open_windows_1(wanted);
    PERFORM {{schema}}.lock_windows_1(
        array_agg(DISTINCT coalesce(value -> 'row' ->> 'workspace', '')),
        min((value -> 'row' ->> 'started_ms')::bigint), max((value -> 'row' ->> 'started_ms')::bigint)
    ) FROM jsonb_array_elements(entries);
    FOR entry IN SELECT value FROM jsonb_array_elements(entries) WITH ORDINALITY ORDER BY ordinality LOOP
        IF (entry ->> 'begins')::boolean THEN
            outcomes := outcomes || jsonb_build_array({{schema}}.begin_1(entry, now_ms));
        ELSE
            outcomes := outcomes || jsonb_build_array({{schema}}.settle_1(entry));
        END IF;
    END LOOP;
    RETURN outcomes;
END $$;
"""  # noqa: S608 (own names)

UPKEEP = f"""
CREATE FUNCTION {{schema}}.give_up_1(now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM {{schema}}.attempts WHERE status = 'pending' AND deadline_ms < now_ms) THEN
        RETURN 0;
    END IF;
    LOCK TABLE {{schema}}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {{schema}}.lock_windows_1(array_agg(DISTINCT coalesce(workspace, '')), min(started_ms), max(started_ms))
    FROM {{schema}}.attempts WHERE status = 'pending' AND deadline_ms < now_ms;
    UPDATE {{schema}}.attempts AS attempt SET status = 'lost', settled_ms = now_ms,
        cost_picousd = CASE WHEN attempt.cost_basis = 'estimated' THEN attempt.expected_picousd
            ELSE attempt.reserved_picousd END,
        cost_basis = coalesce(attempt.cost_basis, 'at_most')
    FROM (
        SELECT request_id, attempt, started_ms FROM {{schema}}.attempts
        WHERE status = 'pending' AND deadline_ms < now_ms
        ORDER BY request_id, attempt, started_ms FOR UPDATE SKIP LOCKED
    ) AS dead
    WHERE attempt.request_id = dead.request_id AND attempt.attempt = dead.attempt
        AND attempt.started_ms = dead.started_ms AND attempt.status = 'pending';
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;

CREATE FUNCTION {{schema}}.recall_1() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '1000', true);
    BEGIN
        PERFORM {{schema}}.give_up_1({{schema}}.now_ms_1());
    EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction OR lock_not_available THEN
        NULL;
    END;
    RETURN (
        SELECT jsonb_build_object(
            'now_ms', {{schema}}.now_ms_1(),
            'oldest_client', (SELECT oldest_client FROM {{schema}}.version),
            'version', memory.version, 'state', memory.state,
            'lessons', (SELECT coalesce(jsonb_agg(jsonb_build_array(id, lesson) ORDER BY id), '[]')
                FROM {{schema}}.lessons),
            'probes', (SELECT coalesce(jsonb_agg(jsonb_build_array(kind, provider, model, owner, until_ms)), '[]')
                FROM {{schema}}.probes),
            'caps_version', (SELECT version FROM {{schema}}.caps_version),
            'caps', (SELECT coalesce(jsonb_agg(jsonb_build_array(workspace, period, cap_picousd, zone)
                ORDER BY workspace, period), '[]') FROM {{schema}}.caps),
            'unmerged', (SELECT count(*) FROM (SELECT 1 FROM {{schema}}.deltas LIMIT 1001) AS few)
        ) FROM {{schema}}.memory
    );
END $$;

CREATE FUNCTION {{schema}}.fold_1(of_version bigint, folded jsonb, ids bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {{schema}}.memory SET state = folded, version = version + 1 WHERE version = of_version;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM {{schema}}.lessons WHERE id = ANY (ids);
    RETURN true;
END $$;

CREATE FUNCTION {{schema}}.merge_1(most bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('llmroute merge'), hashtext({{schema_text}})) THEN
        RETURN 0;
    END IF;
    WITH gone AS (
        DELETE FROM {{schema}}.deltas
        WHERE id IN (SELECT id FROM {{schema}}.deltas ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED) RETURNING *
    ), merged AS (
        INSERT INTO {{schema}}.rollups AS known
            SELECT {", ".join(ROLLUP_KEY)}, {", ".join(f"sum({name})" for name in COUNTERS)} FROM gone
            GROUP BY {", ".join(ROLLUP_KEY)} ORDER BY {", ".join(ROLLUP_KEY)}
        ON CONFLICT ({", ".join(ROLLUP_KEY)}) DO UPDATE
            SET {", ".join(f"{name} = known.{name} + excluded.{name}" for name in COUNTERS)}
    )
    SELECT count(*) INTO count FROM gone;
    RETURN count;
END $$;
"""  # noqa: S608 (own names)

FUNCTIONS = (CLOCK, MONTHS, SUMMING, WINDOWS, ADMISSION, WRITES, UPKEEP)
