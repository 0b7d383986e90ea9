"""The tables of the ledger, written to be read."""

from __future__ import annotations

import sqlite3

from llmroute.errors import LedgerError

_ATTEMPTS = """
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

_MEMORY = """
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

_BUDGETS = """
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

_COARSE = """
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

INSERT INTO coarse SELECT 1, iif(EXISTS (SELECT 1 FROM rollups), 48038396025285290, 0);

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

_TROUBLE = """
-- How far logarithms scatter around their mean, as a variance; how likely the last answer came of trouble that passes,
-- what that adds to the mean, and when it began at the latest.
ALTER TABLE latencies ADD COLUMN spread REAL NOT NULL DEFAULT 0.2;
ALTER TABLE latencies ADD COLUMN trouble REAL NOT NULL DEFAULT 0;
ALTER TABLE latencies ADD COLUMN slower REAL NOT NULL DEFAULT 1.6;
ALTER TABLE latencies ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
"""

# Each entry brings a ledger one version further and is never edited once released.
MIGRATIONS: tuple[str, ...] = (_ATTEMPTS, _MEMORY, _BUDGETS, _COARSE, _TROUBLE)

# The columns of rollups, and the row that one attempt adds to them.
ROLLUP_KEY = "quarter, provider, model, workspace, task, strategy, status"
COUNTERS = (
    "call_count, unknown_cost_count, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, "
    "cost_picousd, fallback_cost_picousd, latency_ms"
)
_KEY_OF_ROW = """
        {row}started_ms / 900000 AS quarter, {row}provider AS provider, {row}model AS model,
        ifnull({row}workspace, '') AS workspace, ifnull({row}task, '') AS task,
        ifnull({row}strategy, '') AS strategy, {row}status AS status"""
_COUNTERS_OF_ROW = """
        {sign} 1 AS call_count, {sign} ({row}cost_picousd IS NULL) AS unknown_cost_count,
        {sign} ifnull({row}input_tokens, 0) AS input_tokens,
        {sign} ifnull({row}cached_input_tokens, 0) AS cached_input_tokens,
        {sign} ifnull({row}output_tokens, 0) AS output_tokens,
        {sign} ifnull({row}reasoning_tokens, 0) AS reasoning_tokens,
        {sign} ifnull({row}cost_picousd, 0) AS cost_picousd,
        {sign} iif({row}attempt > 1, ifnull({row}cost_picousd, 0), 0) AS fallback_cost_picousd,
        {sign} ifnull({row}latency_ms, 0) AS latency_ms"""
ROLLUP_OF_ROW = (
    f"SELECT {_KEY_OF_ROW}, {_COUNTERS_OF_ROW} FROM attempts WHERE status <> 'pending'".format(row="", sign="+")  # noqa: S608
)

_NAMES = COUNTERS.split(", ")
_ADDED = f"WHERE true ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in _NAMES)};"
_ROLL = f"INSERT INTO rollups SELECT {_KEY_OF_ROW}, {_COUNTERS_OF_ROW} {_ADDED}"

# The coarser tables, and the keys that a rollup has there.
COARSE = {
    "days": "{row}quarter / 96 AS day, {row}provider, {row}model, {row}workspace, {row}status",
    "quarters": "{row}quarter, {row}workspace, {row}status",
}


def _coarse(row: str, told: str) -> str:
    """Add a changed rollup to the coarser tables; `told` is how much of each counter."""
    counters = ", ".join(told.format(name=name) for name in _NAMES)
    return "\n".join(
        f"INSERT INTO {table} SELECT {key.format(row=row)}, {counters} {_ADDED}" for table, key in COARSE.items()
    )


_WORDS = {
    "add_new": _ROLL.format(row="new.", sign="+"),
    "subtract_old": _ROLL.format(row="old.", sign="-"),
    "counters": ",\n    ".join(f"{name} INTEGER NOT NULL" for name in _NAMES),
    "coarse_of_new": _coarse("new.", "new.{name}"),
    "coarse_of_change": _coarse("new.", "new.{name} - old.{name}"),
    "coarse_of_old": _coarse("old.", "- old.{name}"),
}


def migrate(db: sqlite3.Connection, *, fresh: bool = False) -> None:
    """Bring the tables up to date in one transaction; does nothing when they already are.

    Raises:
        LedgerError: the ledger was written by a newer llmroute, or by something else.
    """
    version = _version(db)
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger is of version {version} and this llmroute knows only {len(MIGRATIONS)}",
            hint="update llmroute, or point LLMROUTE_LEDGER to another file",
        )
    if not fresh:
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated while this one waited for the lock.
        version = _version(db)
        _refuse_foreign(db, version)
        for migration in MIGRATIONS[version:]:
            for statement in _statements(migration.format(**_WORDS)):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _refuse_foreign(db: sqlite3.Connection, version: int) -> None:
    if version == 0 and db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise LedgerError("the file is a database of another program", hint="point LLMROUTE_LEDGER to another file")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """Cut a script into statements; `executescript` would commit before it begins."""
    statements, current = [], ""
    for line in script.split("\n"):
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current.strip())
            current = ""
    return statements
