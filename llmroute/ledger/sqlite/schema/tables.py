"""The tables of the ledger.  `rollups.WORDS` has the words in braces."""

from __future__ import annotations

ATTEMPTS = """
CREATE TABLE attempts (
    -- One row for each call to one provider, failed calls included.
    id INTEGER PRIMARY KEY,
    -- Attempts that served one request share its id, and are counted from 1.
    request_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    -- pending until settled, then once and for all:
    -- ok, failed, partial (broke off after text was shown), interrupted (by the user), lost (the process died)
    status TEXT NOT NULL,
    -- The class of the failure, and what the provider's HTTP status was.
    error TEXT,
    http_status INTEGER,
    -- UTC milliseconds.
    started_ms INTEGER NOT NULL,
    settled_ms INTEGER,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- What the provider says answered, and the provider's id of the exchange.
    served_model TEXT,
    provider_request_id TEXT,
    strategy TEXT,
    chain TEXT,
    task TEXT,
    workspace TEXT,
    execution TEXT,
    effort TEXT,
    streaming INTEGER NOT NULL,
    -- Tokens; NULL is "not told".  Input is the whole prompt, output includes reasoning.
    input_tokens INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    -- reported by the provider, estimated here, or none
    usage_source TEXT NOT NULL,
    -- The price used, as JSON in pico-USD per token, and its date.
    price TEXT,
    price_as_of TEXT,
    -- Integer pico-USD; NULL where the price is unknown.
    reserved_picousd INTEGER,
    cost_picousd INTEGER,
    cost_usd REAL GENERATED ALWAYS AS (cost_picousd / 1e12) VIRTUAL,
    latency_ms INTEGER,
    ttft_ms INTEGER,
    finish_reason TEXT,
    -- Who is making the call, so that a pending row of a dead process can be told from one of a living.
    pid INTEGER,
    host TEXT,
    UNIQUE (request_id, attempt)
) STRICT;

CREATE INDEX attempts_by_time ON attempts (started_ms);
CREATE INDEX attempts_pending ON attempts (started_ms) WHERE status = 'pending';

CREATE TABLE rollups (
    -- Settled attempts summed by quarter of an hour, so that a report costs what its period is long.
    -- Every time zone in use is a whole number of quarters away from UTC.
    quarter INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    workspace TEXT NOT NULL,
    task TEXT NOT NULL,
    strategy TEXT NOT NULL,
    status TEXT NOT NULL,
    call_count INTEGER NOT NULL,
    unknown_cost_count INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_picousd INTEGER NOT NULL,
    -- What attempts after the first of their request cost.
    fallback_cost_picousd INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    PRIMARY KEY (quarter, provider, model, workspace, task, strategy, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER attempts_settled_at_once AFTER INSERT ON attempts WHEN new.status <> 'pending' BEGIN
    {add_new}
END;

CREATE TRIGGER attempts_settled AFTER UPDATE ON attempts WHEN old.status = 'pending' AND new.status <> 'pending' BEGIN
    {add_new}
END;

CREATE TRIGGER attempts_corrected AFTER UPDATE ON attempts WHEN old.status <> 'pending' BEGIN
    {subtract_old}
    {add_new}
END;
"""

MEMORY = """
CREATE TABLE latencies (
    -- What calls have taken, by prompt size, as a decayed mean of logarithms: routing.learning has the formulas.
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    effort TEXT NOT NULL,
    -- Input tokens up to 1k, 4k, 16k, more: 0 to 3.
    bucket INTEGER NOT NULL,
    -- ttft (seconds to the first token) or per_token (seconds for each output token)
    metric TEXT NOT NULL,
    weight REAL NOT NULL,
    log_sum REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, model, effort, bucket, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE reliabilities (
    -- How many calls succeeded, and how many there were, both decayed.
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    ok REAL NOT NULL,
    calls REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE breakers (
    -- What is left alone for a while: a provider's key, an endpoint, or one model (the others have an empty model).
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- The class of the failure, failures in a row and when the first of them was.
    reason TEXT NOT NULL,
    failures INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    -- How often it has opened without a success between.
    trips INTEGER NOT NULL,
    open_until_ms INTEGER NOT NULL,
    -- What the key or the configuration was when it opened: another one closes it.
    fingerprint TEXT,
    -- One caller tries again when the time is up; one that died lets go by itself.
    probe_owner TEXT,
    probe_until_ms INTEGER,
    PRIMARY KEY (kind, provider, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE retry_tokens (
    -- What is left of a provider's allowance of retries.
    provider TEXT NOT NULL PRIMARY KEY,
    tokens REAL NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

BUDGETS = """
-- Which process makes the call (the pid alone is used again), and when the row has lost it for certain.
ALTER TABLE attempts ADD COLUMN process TEXT;
ALTER TABLE attempts ADD COLUMN deadline_ms INTEGER;

CREATE TABLE budgets (
    -- What a cap has to set against in its current window, kept by triggers in the transaction that changes an attempt.
    -- An attempt counts in the window it was started in.
    period TEXT NOT NULL,
    -- Empty for the cap on all calls.
    workspace TEXT NOT NULL,
    window_start_ms INTEGER NOT NULL,
    cap_picousd INTEGER NOT NULL,
    spent_picousd INTEGER NOT NULL,
    -- The worst cases of the attempts that are pending: a pending row is its own reservation.
    reserved_picousd INTEGER NOT NULL,
    PRIMARY KEY (period, workspace)
) STRICT, WITHOUT ROWID;

CREATE TABLE pruned (
    -- One row: attempts started before this are gone, and only the rollups tell of them.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    before_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER budgets_entered AFTER INSERT ON attempts BEGIN
    UPDATE budgets SET
        spent_picousd = spent_picousd + iif(new.status = 'pending', 0, ifnull(new.cost_picousd, 0)),
        reserved_picousd = reserved_picousd + iif(new.status = 'pending', ifnull(new.reserved_picousd, 0), 0)
    WHERE workspace IN ('', ifnull(new.workspace, '')) AND window_start_ms <= new.started_ms;
END;

CREATE TRIGGER budgets_changed AFTER UPDATE ON attempts BEGIN
    UPDATE budgets SET
        spent_picousd = spent_picousd - iif(old.status = 'pending', 0, ifnull(old.cost_picousd, 0))
            + iif(new.status = 'pending', 0, ifnull(new.cost_picousd, 0)),
        reserved_picousd = reserved_picousd - iif(old.status = 'pending', ifnull(old.reserved_picousd, 0), 0)
            + iif(new.status = 'pending', ifnull(new.reserved_picousd, 0), 0)
    WHERE workspace IN ('', ifnull(new.workspace, '')) AND window_start_ms <= new.started_ms;
END;
"""

COARSE = """
CREATE TABLE days (
    -- Rollups of whole UTC days without task and strategy, so that a long period is few rows.
    day INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    workspace TEXT NOT NULL,
    status TEXT NOT NULL,
    {counters},
    PRIMARY KEY (day, provider, model, workspace, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarters (
    -- Rollups by workspace and status alone, for days and hours on the user's wall, and for budgets.
    quarter INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    status TEXT NOT NULL,
    {counters},
    PRIMARY KEY (quarter, workspace, status)
) STRICT, WITHOUT ROWID;

CREATE INDEX quarters_by_workspace ON quarters (workspace);

CREATE TABLE coarse (
    -- One row: `days` and `quarters` are whole from this UTC day on.  `coarse.fill` brings it down to 0.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    since_day INTEGER NOT NULL
) STRICT;

INSERT INTO coarse SELECT 1, iif(EXISTS (SELECT 1 FROM rollups), {never_day}, 0);

CREATE TRIGGER rollups_entered AFTER INSERT ON rollups BEGIN
    {coarse_of_new}
END;

CREATE TRIGGER rollups_changed AFTER UPDATE ON rollups BEGIN
    {coarse_of_change}
END;

CREATE TRIGGER rollups_removed AFTER DELETE ON rollups BEGIN
    {coarse_of_old}
END;
"""

TROUBLE = """
-- How far logarithms scatter around their mean, as a variance; how likely the last answer came of trouble that passes,
-- what that adds to the mean, and when it began at the latest.
ALTER TABLE latencies ADD COLUMN spread REAL NOT NULL DEFAULT 0.2;
ALTER TABLE latencies ADD COLUMN trouble REAL NOT NULL DEFAULT 0;
ALTER TABLE latencies ADD COLUMN slower REAL NOT NULL DEFAULT 1.6;
ALTER TABLE latencies ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
"""

BILLING = """
-- What else sets the price of a call, as the answer told it, so that the row can be priced again from itself.
ALTER TABLE attempts ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE attempts ADD COLUMN service_tier TEXT;
ALTER TABLE attempts ADD COLUMN inference_geo TEXT;
-- How often each server-side tool was used, as a JSON object.
ALTER TABLE attempts ADD COLUMN server_tools TEXT;
-- Where the cost comes from; `rows.CostBasis` says what each word means.  NULL in rows of an older llmroute.
ALTER TABLE attempts ADD COLUMN cost_basis TEXT;
-- What the call was expected to cost when it began: the cost of one whose end stays unknown while no budget binds.
ALTER TABLE attempts ADD COLUMN expected_picousd INTEGER;
-- When a person put another cost in place of the one that was computed, and that one.
ALTER TABLE attempts ADD COLUMN corrected_ms INTEGER;
ALTER TABLE attempts ADD COLUMN computed_picousd INTEGER;

CREATE INDEX attempts_unsure ON attempts (started_ms)
    WHERE status <> 'pending' AND cost_basis IN ('estimated', 'at_most', 'at_least');
"""

CUTS = """
-- By what signs the model did not read the whole prompt; NULL where there are none.
ALTER TABLE attempts ADD COLUMN prompt_cut TEXT;
"""

LENGTHS = """
-- Output tokens of complete answers, by model, effort and task ('' where there was none): how many answers, faded with
-- a half-life of 30 days, and their tokens together, as of `at_ms`.
CREATE TABLE output_lengths (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    effort TEXT NOT NULL,
    task TEXT NOT NULL,
    answers REAL NOT NULL,
    tokens REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, model, effort, task)
) WITHOUT ROWID;

-- The last answers of an older ledger.
INSERT INTO output_lengths
    SELECT provider, model, ifnull(effort, ''), ifnull(task, ''), count(*), sum(output_tokens), max(started_ms)
    FROM (SELECT * FROM attempts ORDER BY id DESC LIMIT 5000)
    WHERE status = 'ok' AND usage_source = 'reported' AND output_tokens IS NOT NULL
        AND finish_reason IN ('stop', 'tool_calls')
    GROUP BY 1, 2, 3, 4;
"""

WARNINGS = """
CREATE TABLE budget_warnings (
    -- The cap and the window of the last warning that most of a cap is spent.
    period TEXT NOT NULL,
    -- Empty for the cap on all calls.
    workspace TEXT NOT NULL,
    window_start_ms INTEGER NOT NULL,
    cap_picousd INTEGER NOT NULL,
    PRIMARY KEY (period, workspace)
) STRICT, WITHOUT ROWID;
"""

JOBS = """
CREATE TABLE jobs (
    -- A job at the batch API of a provider; `ledger.jobs.Job` says what each column means.
    id TEXT NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    output TEXT,
    input_digest TEXT NOT NULL,
    options_digest TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- submitting, queued, running, done, expired, cancelled, failed
    phase TEXT NOT NULL,
    lines INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    price TEXT,
    sealed INTEGER NOT NULL,
    upload_begun_ms INTEGER,
    file_id TEXT,
    create_begun_ms INTEGER,
    vendor_id TEXT,
    submitted_ms INTEGER,
    expires_ms INTEGER,
    fault TEXT,
    cancel_ms INTEGER,
    delivered_ms INTEGER,
    cleaned_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE job_lines (
    -- A line of a job; its attempt in `attempts` has the id of the job, a hyphen and `n` for its request id.
    job TEXT NOT NULL,
    n INTEGER NOT NULL,
    -- The place in the input, from 0, and the id there as JSON.
    position INTEGER NOT NULL,
    line_id TEXT NOT NULL,
    -- reserved, answered, failed, unanswered
    state TEXT NOT NULL,
    expected_input INTEGER NOT NULL,
    worst_input INTEGER NOT NULL,
    max_tokens INTEGER,
    expected_output INTEGER NOT NULL,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_lines_by_position ON job_lines (job, position);
"""

JOB_HOSTS = """
ALTER TABLE jobs ADD COLUMN host TEXT;

CREATE TABLE job_schemas (
    -- The schema of the lines of a job from number `n` on, as JSON; none where it is NULL.
    job TEXT NOT NULL,
    n INTEGER NOT NULL,
    document TEXT,
    class_name TEXT,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
"""

CHECKS = """
-- Answers of a model to a task ('' where there was none) that passed the caller's check, and answers that were checked,
-- faded with a half-life of 90 days, as of `at_ms`.
CREATE TABLE check_results (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    passed REAL NOT NULL,
    checked REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, model, task)
) WITHOUT ROWID;
"""

NOTABLE = """
-- What stands out in a report: calls that failed, calls of batches, and of each UTC day those that cost most and took
-- longest.
CREATE INDEX attempts_failed ON attempts (started_ms, workspace, error, status) WHERE status NOT IN ('ok', 'pending');
CREATE INDEX attempts_of_batches ON attempts (started_ms) WHERE service_tier = 'batch';
CREATE INDEX attempts_by_cost ON attempts (started_ms / 86400000, cost_picousd DESC, workspace) WHERE cost_picousd > 0;
CREATE INDEX attempts_by_latency ON attempts (started_ms / 86400000, latency_ms DESC, workspace) WHERE latency_ms > 0;
"""

CACHES = """
-- Input tokens of answers of a model to a task ('' where there was none), and those of them that were read from prompt
-- caches, faded with a half-life of 30 days, as of `at_ms`.
CREATE TABLE cached_inputs (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    tokens REAL NOT NULL,
    cached REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, model, task)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_cached ON attempts (started_ms) WHERE cached_input_tokens > 0 OR cache_write_tokens > 0;
"""

DAY_SUMS = """
-- What prompt caches saved, by the price in each row.
ALTER TABLE rollups ADD COLUMN cache_saved_picousd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE days ADD COLUMN cache_saved_picousd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarters ADD COLUMN cache_saved_picousd INTEGER NOT NULL DEFAULT 0;

CREATE TABLE task_days (
    -- Rollups of whole UTC days by task.
    day INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    task TEXT NOT NULL,
    status TEXT NOT NULL,
    {now_counters},
    PRIMARY KEY (day, workspace, task, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE strategy_days (
    -- Rollups of whole UTC days by strategy.
    day INTEGER NOT NULL,
    workspace TEXT NOT NULL,
    strategy TEXT NOT NULL,
    status TEXT NOT NULL,
    {now_counters},
    PRIMARY KEY (day, workspace, strategy, status)
) STRICT, WITHOUT ROWID;

-- `backfill.fill` sums what is there, and fills the new column of the rollups.
UPDATE coarse SET since_day = {never_day} WHERE EXISTS (SELECT 1 FROM rollups);

DROP TRIGGER attempts_settled_at_once;
DROP TRIGGER attempts_settled;
DROP TRIGGER attempts_corrected;
DROP TRIGGER rollups_entered;
DROP TRIGGER rollups_changed;
DROP TRIGGER rollups_removed;
DROP INDEX attempts_cached;

CREATE TRIGGER attempts_settled_at_once AFTER INSERT ON attempts WHEN new.status <> 'pending' BEGIN
    {now_add_new}
END;

CREATE TRIGGER attempts_settled AFTER UPDATE ON attempts WHEN old.status = 'pending' AND new.status <> 'pending' BEGIN
    {now_add_new}
END;

CREATE TRIGGER attempts_corrected AFTER UPDATE ON attempts WHEN old.status <> 'pending' BEGIN
    {now_subtract_old}
    {now_add_new}
END;

CREATE TRIGGER rollups_entered AFTER INSERT ON rollups BEGIN
    {now_coarse_of_new}
END;

CREATE TRIGGER rollups_changed AFTER UPDATE ON rollups BEGIN
    {now_coarse_of_change}
END;

CREATE TRIGGER rollups_removed AFTER DELETE ON rollups BEGIN
    {now_coarse_of_old}
END;
"""

IDENTITY = """
CREATE TABLE identity (
    -- One row: what tells this ledger and its copies from others, under any name and on any host.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger TEXT NOT NULL
) STRICT;

INSERT INTO identity VALUES (1, hex(randomblob(16)));
"""
