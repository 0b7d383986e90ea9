"""Compare the tables, indexes and triggers of a ledger with the expected ones, and correct them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Literal, NamedTuple

from llmroute.errors import LedgerError
from llmroute.ledger.buckets import BUCKET_MS
from llmroute.ledger.sqlite.errors import HINT
from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS, migrate
from llmroute.ledger.sqlite.schema.rollups import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Tables that cannot be created anew: the ledger is rebuilt from what can be read.
_NOT_RECREATED = ("attempts", "rollups")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TRIGGER = re.compile(r"^(CREATE|DROP) TRIGGER (?:IF EXISTS )?(\w+)", re.MULTILINE)
# Triggers first: they refer to the others.
_DROPPED_IN_ORDER = ("trigger", "view", "index", "table")
_CREATED_IN_ORDER = ("table", "index", "trigger")


class SchemaObject(NamedTuple):
    """A table, index, trigger or view, and the SQL that makes it."""

    kind: str
    name: str
    sql: str

    @property
    def meaning(self) -> str:
        """The SQL without comments and insignificant white space."""
        return re.sub(r"\s+|(?<=[(),]) | (?=[(),])", " ", _COMMENT.sub(" ", self.sql)).strip()


class Difference(NamedTuple):
    """A part that differs: as it was found where it was added, else as expected."""

    how: Literal["missing", "changed", "added"]
    part: SchemaObject

    @property
    def needs_rebuilding(self) -> bool:
        """Whether the ledger must be rebuilt from what can be read, because its rows depend on this part."""
        kind, name = self.part.kind, self.part.name
        return kind == "table" and (self.how == "changed" or (self.how == "missing" and name in _NOT_RECREATED))

    def __str__(self) -> str:
        faults = {"missing": "is missing", "changed": "is not what it must be", "added": "is not one of the ledger's"}
        return f"the {self.part.kind} {self.part.name} {faults[self.how]}"


def differences(db: sqlite3.Connection) -> tuple[Difference, ...]:
    """Compare a ledger with a new one of the newest version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new)
        expected = _parts(new)
    found = _parts(db)
    unlike: list[Difference] = [Difference("missing", expected[key]) for key in expected if key not in found]
    unlike += [
        Difference("changed", part)
        for key, part in expected.items()
        if key in found and found[key].meaning != part.meaning
    ]
    unlike += [Difference("added", found[key]) for key in found if key not in expected]
    return tuple(unlike)


def mend(db: sqlite3.Connection, unlike: Iterable[Difference]) -> None:
    """Correct differences in the open transaction; none may need a rebuild."""
    unlike = tuple(unlike)
    for kind in _DROPPED_IN_ORDER:
        for difference in unlike:
            if difference.part.kind == kind and difference.how != "missing":
                db.execute(f"DROP {kind} IF EXISTS {_quoted(difference.part.name)}")
    for kind in _CREATED_IN_ORDER:
        for difference in unlike:
            if difference.part.kind == kind and difference.how != "added":
                db.execute(difference.part.sql)
    if any(difference.how == "missing" and difference.part.name == "pruned" for difference in unlike):
        keep_older_sums(db)


def keep_older_sums(db: sqlite3.Connection) -> None:
    """Count sums before the oldest row as those of pruned rows, where pruning is not recorded."""
    db.execute(
        f"INSERT OR IGNORE INTO pruned SELECT 1, oldest * {BUCKET_MS}"  # noqa: S608 (own names)
        f" FROM (SELECT min(started_ms) / {BUCKET_MS} AS oldest FROM attempts)"
        " WHERE EXISTS (SELECT 1 FROM rollups WHERE quarter < oldest)"
    )


class TriggerCheck:
    """Checks the triggers of the ledger at `path`, once for each state of its schema."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The `schema_version`, which SQLite raises with each change, in which all triggers were found.
        self._complete_schema: int | None = None

    def require(self, db: sqlite3.Connection) -> None:
        """Check that the triggers which sum up what caps count are there.

        Raises:
            LedgerError: a trigger is missing or changed.
        """
        (schema,) = db.execute("PRAGMA schema_version").fetchone()
        if schema == self._complete_schema:
            return
        if lost := lost_triggers(db):
            raise LedgerError(
                f"the ledger {self._path} does not count what is spent: the trigger {lost[0]} is missing or changed",
                hint=HINT,
            )
        self._complete_schema = schema


def lost_triggers(db: sqlite3.Connection) -> tuple[str, ...]:
    """Return the triggers that are missing or changed: without them the sums, and what caps count, go wrong.

    Cheaper than `differences`: the texts of triggers are kept as the migrations have them.
    """
    script = "\n".join(migration.format(**WORDS) for migration in MIGRATIONS)
    begins: dict[str, int] = {}
    for found in _TRIGGER.finditer(script):
        verb, name = found.groups()
        if verb == "CREATE":
            begins[name] = found.start()
        else:
            begins.pop(name, None)
    stored = {part.name: part.sql for part in _parts(db).values() if part.kind == "trigger"}
    return tuple(name for name, begin in begins.items() if not script.startswith(stored.get(name, "\0"), begin))


def _parts(db: sqlite3.Connection) -> dict[tuple[str, str], SchemaObject]:
    """Return the schema objects that SQLite did not create by itself; text that is not UTF-8 matches no other."""
    rows = db.execute(
        "SELECT type, CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_schema"
        " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    parts = [
        SchemaObject(kind, name.decode(errors="surrogateescape"), sql.decode(errors="surrogateescape"))
        for kind, name, sql in rows
    ]
    return {(part.kind, part.name): part for part in parts}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
