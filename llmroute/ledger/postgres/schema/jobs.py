"""The journal of batch jobs: tables as in SQLite, column for column, and functions that settle many lines at once.

Each function locks the row of its job first, then what `writes` locks, then lines.
"""

from __future__ import annotations

from llmroute.ledger.postgres.schema.tables import granted_as_attempts

TABLES = """
CREATE TABLE {schema}.jobs (
    -- A job at the batch API of a provider; `ledger.jobs.Job` says what each column means.
    id text COLLATE "C" PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    output text,
    input_digest text NOT NULL,
    options_digest text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    phase text NOT NULL,
    lines bigint NOT NULL,
    created_ms bigint NOT NULL,
    deadline_ms bigint NOT NULL,
    price text,
    sealed boolean NOT NULL,
    upload_begun_ms bigint,
    file_id text,
    create_begun_ms bigint,
    vendor_id text,
    submitted_ms bigint,
    expires_ms bigint,
    fault text,
    cancel_ms bigint,
    delivered_ms bigint,
    cleaned_ms bigint,
    host text
);

CREATE TABLE {schema}.job_lines (
    -- A line of a job; its attempt in `attempts` has the id of the job, a hyphen and `n` for its request id.
    job text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    position bigint NOT NULL,
    line_id text NOT NULL,
    state text NOT NULL,
    expected_input bigint NOT NULL,
    worst_input bigint NOT NULL,
    max_tokens bigint,
    expected_output bigint NOT NULL,
    PRIMARY KEY (job, n)
);
CREATE INDEX job_lines_by_position ON {schema}.job_lines (job, position);

CREATE TABLE {schema}.job_schemas (
    -- The schema of the lines of a job from number `n` on, as JSON; none where it is NULL.
    job text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    document text,
    class_name text,
    PRIMARY KEY (job, n)
);

CREATE TABLE {schema}.job_leases (
    -- The process that works on the jobs of a run; another may take its place when the lease has ended.
    run text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,
    until_ms bigint NOT NULL
);
""" + granted_as_attempts("jobs", "job_lines", "job_schemas", "job_leases")

FUNCTIONS = """
-- Begins the attempts of lines, and adds those that are admitted to their job; NULL as `write_1`.
CREATE FUNCTION {schema}.reserve_lines_2(
    of_job text, entries jsonb, made jsonb, wanted jsonb, lock_timeout_ms bigint, known_caps bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    outcomes jsonb;
    added bigint;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM 1 FROM {schema}.jobs WHERE id = of_job FOR UPDATE;
    outcomes := {schema}.write_1(entries, wanted, lock_timeout_ms, known_caps);
    IF outcomes IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO {schema}.job_lines SELECT line.*
        FROM jsonb_array_elements(made) WITH ORDINALITY AS given (value, place)
        CROSS JOIN LATERAL jsonb_populate_record(NULL::{schema}.job_lines, given.value) AS line
        WHERE outcomes -> (given.place::int - 1) ? 'reserved'
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE {schema}.jobs SET lines = lines + added WHERE id = of_job;
    RETURN outcomes;
END $$;

-- Settles those of the lines that are still reserved; returns their numbers and the watched caps that are nearly spent.
CREATE FUNCTION {schema}.settle_lines_2(of_job text, ends jsonb, watch jsonb, lock_timeout_ms bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    settled bigint[];
    entries jsonb;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM 1 FROM {schema}.jobs WHERE id = of_job FOR UPDATE;
    SELECT array_agg(line.n), jsonb_agg(given -> 'entry' ORDER BY line.n) INTO settled, entries
        FROM jsonb_array_elements(ends) AS given
        JOIN {schema}.job_lines AS line ON line.job = of_job AND line.n = (given ->> 'n')::bigint
        WHERE line.state = 'reserved';
    IF settled IS NOT NULL THEN
        PERFORM {schema}.write_1(entries, '[]', lock_timeout_ms, NULL);
        UPDATE {schema}.job_lines AS line SET state = given ->> 'state'
            FROM jsonb_array_elements(ends) AS given
            WHERE line.job = of_job AND line.n = (given ->> 'n')::bigint AND line.n = ANY (settled);
    END IF;
    RETURN jsonb_build_object(
        'settled', to_jsonb(coalesce(settled, ARRAY[]::bigint[])),
        'near', CASE WHEN jsonb_typeof(watch) = 'object' THEN
            {schema}.claim_warnings_1(watch -> 'caps', (watch ->> 'warn_at')::float8) END
    );
END $$;

-- Ends up to `most` reserved lines of a job without a result; they cost nothing, or what their loss counts with.
CREATE FUNCTION {schema}.end_lines_2(
    of_job text, to_status text, of_error text, now_ms bigint, is_free boolean, most bigint, lock_timeout_ms bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
    calls text[];
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout_ms::text, true);
    PERFORM 1 FROM {schema}.jobs WHERE id = of_job FOR UPDATE;
    SELECT array_agg(n), array_agg(of_job || '-' || n) INTO numbers, calls FROM (
        SELECT n FROM {schema}.job_lines WHERE job = of_job AND state = 'reserved' ORDER BY n LIMIT most
    ) AS line;
    LOCK TABLE {schema}.windows IN ROW EXCLUSIVE MODE;
    PERFORM {schema}.lock_windows_1(array_agg(DISTINCT coalesce(workspace, '')), min(started_ms), max(started_ms))
        FROM {schema}.attempts WHERE request_id = ANY (calls) AND status = 'pending';
    UPDATE {schema}.attempts SET status = to_status, error = of_error, settled_ms = now_ms,
        cost_picousd = CASE WHEN is_free THEN 0 WHEN cost_basis = 'estimated' THEN expected_picousd
            ELSE reserved_picousd END,
        cost_basis = CASE WHEN is_free THEN 'reported' ELSE coalesce(cost_basis, 'at_most') END
        WHERE request_id = ANY (calls) AND status = 'pending';
    UPDATE {schema}.job_lines SET state = 'unanswered' WHERE job = of_job AND n = ANY (numbers);
    RETURN coalesce(cardinality(numbers), 0);
END $$;
"""
