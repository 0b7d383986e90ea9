"""The tables of the ledger on PostgreSQL.  `{schema}` is the quoted name of their schema.

Times are UTC milliseconds of the server's clock, money is pico-USD; a quarter is a bucket of `ledger.buckets`.
"""

from __future__ import annotations

FIRST_COUNTERS = (
    "call_count",
    "unknown_cost_count",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_picousd",
    "fallback_cost_picousd",
    "latency_ms",
)
"""Those of migration 1."""
COUNTERS = (*FIRST_COUNTERS, "cache_saved_picousd")
ROLLUP_KEY = ("quarter", "provider", "model", "workspace", "task", "strategy", "status")
DAY_KEY = ("day", "provider", "model", "workspace", "status")
# The tables of coarser sums and their keys.
COARSE = {
    "days": DAY_KEY,
    "task_days": ("day", "workspace", "task", "status"),
    "strategy_days": ("day", "workspace", "strategy", "status"),
    "quarters": ("quarter", "workspace", "status"),
}


def columns_of(key: tuple[str, ...], counters: tuple[str, ...] = FIRST_COUNTERS) -> str:
    """Return the columns of sums by a key, whose first column is a time."""
    texts = [f'{name} text COLLATE "C" NOT NULL' for name in key[1:]]
    numbers = [f"{name} bigint NOT NULL" for name in counters]
    return ",\n    ".join((f"{key[0]} bigint NOT NULL", *texts, *numbers))


def granted_as_attempts(*tables: str) -> str:
    """Return the statement that gives roles the rights on new tables that they have on attempts."""
    named = ", ".join(f"{'%2$s' if number else '%s'}.{table}" for number, table in enumerate(tables))
    return f"""
-- Roles have the rights that they have on attempts.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
        FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
        WHERE pg_class.oid = ({{schema_ident_text}} || '.attempts')::regclass
            AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        EXECUTE format(
            'GRANT %s ON {named} TO %s',
            granted.privilege_type, {{schema_ident_text}}, granted.role
        );
    END LOOP;
END $$;
"""  # noqa: S608 (own names)


ATTEMPTS = """
CREATE SEQUENCE {schema}.attempt_ids;

CREATE TABLE {schema}.attempts (
    -- As in SQLite, column for column; one partition for each month of `started_ms`.
    id bigint NOT NULL DEFAULT nextval('{schema}.attempt_ids'),
    request_id text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    error text,
    http_status bigint,
    started_ms bigint NOT NULL,
    settled_ms bigint,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    served_model text,
    provider_request_id text,
    strategy text COLLATE "C",
    chain text,
    task text COLLATE "C",
    workspace text COLLATE "C",
    execution text COLLATE "C",
    effort text,
    streaming bigint NOT NULL,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    usage_source text NOT NULL,
    price text,
    price_as_of text,
    reserved_picousd bigint,
    cost_picousd bigint,
    latency_ms bigint,
    ttft_ms bigint,
    finish_reason text,
    pid bigint,
    host text,
    process text,
    deadline_ms bigint,
    cache_write_1h_tokens bigint,
    service_tier text,
    inference_geo text,
    server_tools text,
    cost_basis text,
    expected_picousd bigint,
    corrected_ms bigint,
    computed_picousd bigint,
    prompt_cut text,
    PRIMARY KEY (request_id, attempt, started_ms)
) PARTITION BY RANGE (started_ms);

CREATE INDEX attempts_by_id ON {schema}.attempts (id);
CREATE INDEX attempts_by_time ON {schema}.attempts (started_ms, id);
CREATE INDEX attempts_pending ON {schema}.attempts (deadline_ms) WHERE status = 'pending';
CREATE INDEX attempts_uncertain ON {schema}.attempts (started_ms)
    WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least');
"""

SUMS = f"""
-- What each settled attempt adds to the sums: appended, so that no two of them write one row, and merged later.
CREATE TABLE {{schema}}.deltas (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns_of(ROLLUP_KEY)});

CREATE TABLE {{schema}}.rollups ({columns_of(ROLLUP_KEY)}, PRIMARY KEY ({", ".join(ROLLUP_KEY)}));

-- The rollups by day of UTC: what a report over a long period reads.
CREATE TABLE {{schema}}.days ({columns_of(DAY_KEY)}, PRIMARY KEY ({", ".join(DAY_KEY)}));

CREATE TABLE {{schema}}.windows (
    -- What was spent and is reserved by attempts that start in a window; an empty workspace is all of them.
    workspace text COLLATE "C" NOT NULL,
    start_ms bigint NOT NULL,
    end_ms bigint NOT NULL,
    spent_picousd bigint NOT NULL,
    reserved_picousd bigint NOT NULL,
    PRIMARY KEY (workspace, start_ms, end_ms)
) WITH (fillfactor = 50);

CREATE TABLE {{schema}}.caps (
    -- Caps for all hosts; their windows are those of a time zone.  Each change raises `caps_version`.
    workspace text COLLATE "C" NOT NULL,
    period text NOT NULL,
    cap_picousd bigint NOT NULL,
    zone text NOT NULL,
    PRIMARY KEY (workspace, period)
);
CREATE TABLE {{schema}}.caps_version (id bigint PRIMARY KEY CHECK (id = 1), version bigint NOT NULL);
INSERT INTO {{schema}}.caps_version VALUES (1, 0);

CREATE TABLE {{schema}}.budget_warnings (
    -- The caps and windows of which a caller has warned that most is spent.
    period text NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    start_ms bigint NOT NULL,
    cap_picousd bigint NOT NULL,
    PRIMARY KEY (period, workspace, start_ms, cap_picousd)
);

CREATE TABLE {{schema}}.pruned (
    -- One row: attempts that started before this are deleted, and only the rollups have them.
    id bigint PRIMARY KEY CHECK (id = 1),
    before_ms bigint NOT NULL
);
"""  # noqa: S608 (own names)

STATISTICS = """
CREATE TABLE {schema}.lessons (
    -- What attempts taught since the last fold into `memory`.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    trips boolean NOT NULL,
    lesson jsonb NOT NULL
);

CREATE TABLE {schema}.verdicts (
    -- The attempts of the last day whose check is in `lessons` or `memory`: a verdict that is sent twice counts once.
    request_id text COLLATE "C" NOT NULL,
    attempt bigint NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (request_id, attempt)
);

CREATE TABLE {schema}.memory (
    -- One row: the statistics as `statistics.memory` writes them, and how often they were folded.
    id bigint PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    state jsonb NOT NULL
);
INSERT INTO {schema}.memory VALUES (1, 0, '{{}}');

CREATE TABLE {schema}.probes (
    -- The caller that probes a half-open circuit; its claim ends by itself.
    kind text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    owner text NOT NULL,
    until_ms bigint NOT NULL,
    PRIMARY KEY (kind, provider, model)
);
"""

VERSION = """
CREATE TABLE {schema}.version (
    -- One row: the version of the schema, and the oldest version of a client that may use it.
    id bigint PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    oldest_client bigint NOT NULL
);
INSERT INTO {schema}.version VALUES (1, 0, 1);
"""
