"""Migrations: how the schema is created and brought up to date, by whichever host comes first.

Each function of the schema is one statement of a client, in one round trip.  Their names end in a version, so that
older clients work beside newer ones.  A migration may replace a function by one with the same arguments: the last text
of a name in MIGRATIONS is in force.

Locks are taken in one order: merges, a job or a move, months, the table of windows, its rows by key, attempts,
`late_attempts`, probes, lines of jobs.  Every write locks the table of windows beside others, and takes the ids of its
attempts under that lock, by which `queries.writes_in_progress` knows of it.  What writes must not miss, as a new cap or
the time that is pruned, is changed under a lock that excludes them: each write ends before it, or sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.ledger.postgres.schema import day_sums, jobs, late_attempts
from llmroute.ledger.postgres.schema.budgets import ADMISSION, WINDOWS
from llmroute.ledger.postgres.schema.circuits import CIRCUITS, PROBES
from llmroute.ledger.postgres.schema.lost_attempts import GIVE_UP
from llmroute.ledger.postgres.schema.months import CLOCK, MONTHS, MONTHS_BY_ROLE
from llmroute.ledger.postgres.schema.moves import MOVES
from llmroute.ledger.postgres.schema.recollection import RECOLLECTION
from llmroute.ledger.postgres.schema.sums import SUMMING, merge
from llmroute.ledger.postgres.schema.tables import ATTEMPTS, DAY_KEY, FIRST_COUNTERS, STATISTICS, SUMS, VERSION
from llmroute.ledger.postgres.schema.writes import WRITES

if TYPE_CHECKING:
    from psycopg import Connection

# Each entry brings the schema one version further and is never edited once released.  A migration only adds: clients
# of older versions work beside it, unless it raises `version.oldest_client`.
_TABLES = (VERSION, ATTEMPTS, SUMS, STATISTICS)
_MERGE = merge({"days": DAY_KEY}, FIRST_COUNTERS)
_FUNCTIONS = (CLOCK, MONTHS, SUMMING, _MERGE, WINDOWS, ADMISSION, PROBES, WRITES, RECOLLECTION, MOVES)
MIGRATIONS: tuple[str, ...] = (
    "".join((*_TABLES, *_FUNCTIONS)),
    jobs.TABLES + jobs.FUNCTIONS,
    GIVE_UP + CIRCUITS,
    day_sums.TABLES + day_sums.FUNCTIONS,
    MONTHS_BY_ROLE,
    late_attempts.REVISION,
)
CLIENT_VERSION = len(MIGRATIONS)


def migrate(db: Connection, schema: str) -> int:
    """Migrate the schema to the newest version, in one transaction; a newer one stays as it is.

    Returns the version of the oldest client that may use it.

    Raises:
        psycopg.Error: the role may not create the schema, or the server cannot be reached.
    """
    from psycopg import sql

    ident, text = sql.Identifier(schema).as_string(db), sql.Literal(schema).as_string(db)
    words = {"schema": ident, "schema_text": text, "schema_ident_text": sql.Literal(ident).as_string(db)}
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(hashtext('llmroute'), hashtext(%s))", (schema,))
        exists = db.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
        if exists is None:
            db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        version = _version(db, ident)
        for migration in MIGRATIONS[version:]:
            db.execute(migration.format(**words).encode())
        if version < CLIENT_VERSION:
            db.execute(f"UPDATE {ident}.version SET version = %s".encode(), (CLIENT_VERSION,))  # noqa: S608
        row = db.execute(f"SELECT oldest_client FROM {ident}.version".encode()).fetchone()  # noqa: S608 (own name)
        return int(row[0]) if row else CLIENT_VERSION


def may_migrate(db: Connection, schema: str) -> bool:
    """Whether the role owns the schema, which no other process migrates now: until the transaction ends, none does."""
    found = db.execute(
        "SELECT pg_try_advisory_xact_lock(hashtext('llmroute'), hashtext(nspname)) FROM pg_namespace"
        " WHERE nspname = %s AND pg_has_role(nspowner, 'USAGE')",
        (schema,),
    ).fetchone()
    return found is not None and bool(found[0])


def _version(db: Connection, ident: str) -> int:
    """Return the version of the schema, 0 of one without tables."""
    found = db.execute("SELECT to_regclass(%s)", (f"{ident}.version",)).fetchone()
    if found is None or found[0] is None:
        return 0
    row = db.execute(f"SELECT version FROM {ident}.version".encode()).fetchone()  # noqa: S608 (own name)
    return 0 if row is None else int(row[0])
