"""The statistics of calls in the tables of a ledger; `statistics.memory` has their rules.

Processes that live a second share them here.  Each observation is written in the transaction of its attempt.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from llmroute.ledger.statistics.latency import Latency, LatencyKey
from llmroute.ledger.statistics.memory import KINDS, Memory

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import ItemsView, Iterator

    from llmroute.ledger.statistics.values import StatsSnapshot

Key = TypeVar("Key", bound=NamedTuple)
Value = TypeVar("Value", bound=NamedTuple)

# The tables whose name is not that of the field of a Memory.
_TABLES = {
    "lengths": "output_lengths",
    "circuits": "breakers",
    "retries": "retry_tokens",
    "checks": "check_results",
    "caches": "cached_inputs",
}


class StatisticsTable(MutableMapping[Key, Value]):
    """The rows of a table by their key: each is read when it is first needed, and `save` writes the changed ones."""

    def __init__(self, db: sqlite3.Connection, name: str, key: type[Key], value: type[Value]) -> None:
        self._db, self._name, self._key, self._value = db, name, key, value
        self._rows: dict[Key, Value] = {}
        self._read: set[Key] = set()
        self._all_read = False
        self._changed: set[Key] = set()

    @overload
    def get(self, key: Key, /) -> Value | None: ...
    @overload
    def get(self, key: Key, default: Any, /) -> Any: ...
    def get(self, key: Key, default: Any = None, /) -> Any:
        """Return the value of a key; `default` if there is no such row."""
        if not (self._all_read or key in self._read):
            self._read.add(key)
            for row in self._db.execute(_statements(self._name, self._key, self._value).one, key):
                self._rows[key] = self._value._make(row)
        return self._rows.get(key, default)

    def items(self) -> ItemsView[Key, Value]:
        """Return all rows."""
        if not self._all_read:
            split = len(self._key._fields)
            for row in self._db.execute(_statements(self._name, self._key, self._value).all):
                key = self._key._make(row[:split])
                if key not in self._read:
                    self._rows[key] = self._value._make(row[split:])
            self._all_read = True
        return self._rows.items()

    def __getitem__(self, key: Key) -> Value:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: Value) -> None:
        if self.get(key) != value:
            self._rows[key] = value
            self._changed.add(key)

    def __delitem__(self, key: Key) -> None:
        del self._rows[key]
        self._changed.add(key)

    def __iter__(self) -> Iterator[Key]:
        self.items()
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self.items())

    def save(self) -> None:
        """Write the changed rows, in the open transaction."""
        statements = _statements(self._name, self._key, self._value)
        for key in self._changed:
            value = self._rows.get(key)
            if value is None:
                self._db.execute(statements.delete, key)
            else:
                self._db.execute(statements.put, (*key, *value))


class _Statements(NamedTuple):
    one: str
    all: str
    put: str
    delete: str


@cache
def _statements(table: str, key: type[NamedTuple], value: type[NamedTuple]) -> _Statements:
    names, where = (*key._fields, *value._fields), " AND ".join(f"{name} = ?" for name in key._fields)
    return _Statements(
        f"SELECT {', '.join(value._fields)} FROM {table} WHERE {where}",  # noqa: S608 (own names)
        f"SELECT {', '.join(names)} FROM {table}",  # noqa: S608
        f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608
        f"DELETE FROM {table} WHERE {where}",  # noqa: S608
    )


def stored(db: sqlite3.Connection) -> Memory:
    """Return the statistics of a ledger, to be read."""
    return Memory(**_tables(db))


@contextmanager
def changing(db: sqlite3.Connection) -> Iterator[Memory]:
    """Yield the statistics of a ledger; the end of the block writes what changed, in the open transaction."""
    tables = _tables(db)
    yield Memory(**tables)
    for table in tables.values():
        table.save()


def recall(db: sqlite3.Connection, *, bucket: int, task: str = "", now_ms: int) -> StatsSnapshot:
    """Return the statistics of prompts of a size bucket and a task, decayed to now."""
    sql, split = _statements("latencies", LatencyKey, Latency).all, len(LatencyKey._fields)
    rows = db.execute(f"{sql} WHERE bucket = ?", (bucket,))
    latencies = {LatencyKey(*row[:split]): Latency(*row[split:]) for row in rows}
    return replace(stored(db), latencies=latencies).snapshot(bucket=bucket, task=task, now_ms=now_ms)


def learned(db: sqlite3.Connection) -> Memory:
    """Return the statistics of a ledger without its circuits and retries."""
    return replace(stored(db), circuits={}, retries={})


def _tables(db: sqlite3.Connection) -> dict[str, StatisticsTable[Any, Any]]:
    return {name: StatisticsTable(db, _TABLES.get(name, name), key, value) for name, (key, value) in KINDS.items()}
