"""Identify the table of a record on a page by the number and the types of its columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from llmroute.ledger.sqlite.schema.migrations import MIGRATIONS, statements
from llmroute.ledger.sqlite.schema.rollups import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.ledger.sqlite.recovery.page_reader import Record, Value

_VIRTUAL = 2
_CLASSES: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str,)}
# `pruned` and `coarse` are both one row of one number: milliseconds from 1973 to 5138, where days are fewer or beyond.
_TIME_MS = range(10**11, 10**14)


class _Column(NamedTuple):
    name: str
    classes: tuple[type, ...]
    nullable: bool
    default: Value


class RecordType(NamedTuple):
    """A table as its records are stored: `lengths` are how many columns a record had in any version."""

    table: str
    has_rowids: bool
    key: str | None
    columns: tuple[_Column, ...]
    lengths: frozenset[int]

    def row(self, record: Record) -> dict[str, Value] | None:
        """Return a record as a row of this table, None where it is none."""
        values = record.values
        if len(values) not in self.lengths or (record.rowid is not None) is not self.has_rowids:
            return None
        row: dict[str, Value] = {}
        for column, value in zip(self.columns, values, strict=False):
            stored = record.rowid if column.name == self.key and value is None else value
            if not (isinstance(stored, column.classes) or (stored is None and column.nullable)):
                return None
            row[column.name] = stored
        row.update({column.name: column.default for column in self.columns[len(values) :]})
        if self.table == "pruned" and row["before_ms"] not in _TIME_MS:
            return None
        return row


def shapes() -> dict[str, RecordType]:
    """Return the tables of the newest version by name, with the lengths of records of every version."""
    found: dict[str, RecordType] = {}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for migration in MIGRATIONS:
            for statement in statements(migration.format(**WORDS)):
                db.execute(statement)
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for name in names:
                shape = _shape(db, name)
                known = found.get(name)
                found[name] = shape._replace(lengths=shape.lengths | known.lengths) if known else shape
            found = {name: found[name] for name in names}
    return found


def _shape(db: sqlite3.Connection, table: str) -> RecordType:
    (has_no_rowids,) = db.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (table,)).fetchone()
    described = db.execute(
        'SELECT name, type, "notnull" OR pk, dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden <> ? ORDER BY cid',
        (table, _VIRTUAL),
    ).fetchall()
    if has_no_rowids:
        # The key comes first.
        count = len(described)
        described.sort(key=lambda row: row[4] or count + 1)
    columns = tuple(
        _Column(name, _CLASSES[kind], not needed, _default(db, default)) for name, kind, needed, default, _ in described
    )
    keys = [name for name, kind, _, _, pk in described if pk and kind == "INTEGER" and not has_no_rowids]
    return RecordType(table, not has_no_rowids, keys[0] if len(keys) == 1 else None, columns, frozenset({len(columns)}))


def _default(db: sqlite3.Connection, sql: str | None) -> Value:
    if sql is None:
        return None
    value: Value = db.execute(f"SELECT {sql}").fetchone()[0]
    return value


def table_of(record: Record, of: Sequence[RecordType]) -> tuple[str, dict[str, Value]] | None:
    """Return the table of a record and the record as its row, None where it is of none."""
    for shape in of:
        row = shape.row(record)
        if row is not None:
            return shape.table, row
    return None
