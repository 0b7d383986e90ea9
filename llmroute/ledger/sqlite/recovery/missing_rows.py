"""Substitutes for unreadable rows that the sums still count, so that reports and caps count them too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.buckets import BUCKET_MS, BUCKETS_PER_DAY, DAY_MS
from llmroute.ledger.budgets import EVERY_WORKSPACE, Cap
from llmroute.ledger.maintenance import MissingRows
from llmroute.ledger.sqlite.budgets import summed_status
from llmroute.ledger.sqlite.recovery.damaged_labels import is_mangled, restored
from llmroute.ledger.sqlite.schema.rollups import COUNTERS
from llmroute.ledger.sqlite.writes import INSERT_ONCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from llmroute.ledger.sqlite.recovery.page_reader import Value

# The column `error` of such a row.
LOST = "row lost"
UNKNOWN = "unknown"
LABELS = ("provider", "model", "workspace", "task", "strategy")
"""The columns that identify the sum of an attempt, beside the time and the status."""
_COUNTERS = tuple(COUNTERS.split(", "))
# A sum of more calls than that is damaged.
_MOST_ROWS = 1_000_000

Row = dict[str, "Value"]
Key = tuple["Value", ...]


def stand_in(db: sqlite3.Connection, survived: dict[str, list[Row]], now_ms: int) -> MissingRows:
    """Insert a row for each call in the surviving sums that has no row; return their number and cost.

    `survived` has the rows of `rollups`, `days`, `quarters` and `budgets` that could be read.  Each is compared with
    the new sums of the rows before, so that a call in several of them is inserted once.
    """
    lost = MissingRows()
    for insert in (_of_rollups, _of_days, _of_quarters):
        for row in insert(db, survived, now_ms):
            db.execute(INSERT_ONCE, row.values())
            lost += (1, row.cost_picousd or 0)
    for hot in sorted(survived.get("budgets", []), key=_narrowest_first):
        for row in _of_budget(db, hot, now_ms):
            db.execute(INSERT_ONCE, row.values())
            lost += (1, row.cost_picousd or 0)
    return lost


def restored_attempt(db: sqlite3.Connection, survived: dict[str, list[Row]], row: Row) -> Row:
    """Return an attempt with the labels of a sum that is short of a call, where bytes of its own are wrong."""
    at: Row = {"quarter": _number(row["started_ms"]) // BUCKET_MS, "status": row["status"]}
    short = [sums for sums, _ in _short_rollups(db, survived) if all(sums[name] == at[name] for name in at)]
    return restored(row, LABELS, short)


def _short_rollups(db: sqlite3.Connection, survived: dict[str, list[Row]]) -> list[tuple[Row, dict[str, int]]]:
    return _missing(survived.get("rollups", []), _rows(db, "rollups"), ("quarter", *LABELS, "status"))


def _of_rollups(db: sqlite3.Connection, survived: dict[str, list[Row]], _now_ms: int) -> Iterator[AttemptRow]:
    for row, missing in _short_rollups(db, survived):
        yield from _rows_for(row, _number(row["quarter"]) * BUCKET_MS, missing)


def _of_days(db: sqlite3.Connection, survived: dict[str, list[Row]], now_ms: int) -> Iterator[AttemptRow]:
    names = ("day", "provider", "model", "workspace", "status")
    for row, missing in _missing(survived.get("days", []), _rows(db, "days"), names):
        begin_ms = _number(row["day"]) * DAY_MS
        # As late as can be: in the window that is in force.
        yield from _rows_for(row, max(begin_ms, min(begin_ms + DAY_MS - 1, now_ms)), missing)


def _of_quarters(db: sqlite3.Connection, survived: dict[str, list[Row]], _now_ms: int) -> Iterator[AttemptRow]:
    """Compare whole days, since a row that was restored by its day is in any of its quarters."""
    now = _rows(db, "quarters")
    found = _whole(survived.get("quarters", []), now, ("quarter", "workspace", "status"))
    names = ("day", "workspace", "status")
    summed, have = _summed(found, names), _summed(now, names)
    for row, missing in _missing(summed, have, names):
        yield from _rows_for(row, _number(row["quarter"]) * BUCKET_MS, missing)


def _of_budget(db: sqlite3.Connection, hot: Row, now_ms: int) -> list[AttemptRow]:
    period, workspace = str(hot["period"]), str(hot["workspace"])
    cap = Cap(period, workspace, _number(hot["cap_picousd"]), _number(hot["window_start_ms"]), None)
    spent = summed_status(db, cap).spent_picousd
    # A number that was damaged books no more than the cap.
    missing = min(_number(hot["spent_picousd"]), max(cap.cap_picousd, spent)) - spent
    if missing <= 0:
        return []
    labels: Row = {"provider": UNKNOWN, "model": UNKNOWN, "workspace": workspace, "status": "lost"}
    counted = dict.fromkeys(_COUNTERS, 0) | {"call_count": 1, "cost_picousd": missing}
    return _rows_for(labels, cap.start_ms or now_ms, counted)


def _narrowest_first(hot: Row) -> tuple[bool, int]:
    """Order caps so that what one lacks is there when a wider one is looked at."""
    return hot["workspace"] == EVERY_WORKSPACE, -_number(hot["window_start_ms"])


def _whole(summed: Iterable[Row], have: Iterable[Row], names: tuple[str, ...]) -> list[Row]:
    """Return sums whose damaged labels are replaced by those of the current sums without a counterpart."""
    summed = list(summed)
    keys, now = {_key(row, names) for row in summed}, {_key(row, names): row for row in have}
    unsummed = [now[key] for key in now.keys() - keys]
    return [
        restored(row, names, unsummed) if is_mangled(row, names) and _key(row, names) not in now else row
        for row in summed
    ]


def _missing(summed: Iterable[Row], have: Iterable[Row], names: tuple[str, ...]) -> list[tuple[Row, dict[str, int]]]:
    """Return the sums that count more calls than the current ones, and the difference of each counter.

    `names` are the key columns of a sum.
    """
    now = {_key(row, names): row for row in have}
    best: dict[Key, Row] = {}
    for row in _whole(summed, now.values(), names):
        # Of two versions of one sum the later counts more.
        kept = best.setdefault(_key(row, names), row)
        if _number(row["call_count"]) > _number(kept["call_count"]):
            best[_key(row, names)] = row
    found = []
    for one, row in best.items():
        counted = now.get(one)
        short = {name: _number(row[name]) - (_number(counted[name]) if counted else 0) for name in _COUNTERS}
        if 0 < short["call_count"] <= _MOST_ROWS:
            found.append((row, {name: max(count, 0) for name, count in short.items()}))
    return found


def _summed(quarters: Iterable[Row], names: tuple[str, ...]) -> list[Row]:
    """Sum quarters by day and the named columns; other columns are those of the latest."""
    found: dict[Key, Row] = {}
    for quarter in sorted(quarters, key=lambda row: _number(row["quarter"])):
        row = {**quarter, "day": _number(quarter["quarter"]) // BUCKETS_PER_DAY}
        known = found.get(_key(row, names))
        found[_key(row, names)] = (
            {**row, **{n: _number(row[n]) + _number(known[n]) for n in _COUNTERS}} if known else row
        )
    return list(found.values())


def _key(row: Row, names: tuple[str, ...]) -> Key:
    return tuple(row[name] for name in names)


def _rows_for(labels: Row, at_ms: int, missing: dict[str, int]) -> list[AttemptRow]:
    """Return rows that together have the missing counters."""
    count = missing["call_count"]
    unknown = min(missing["unknown_cost_count"], count)
    rows = [
        AttemptRow(
            request_id=f"lost-{os.urandom(12).hex()}",
            attempt=1,
            started_ms=at_ms,
            settled_ms=at_ms,
            provider=_label(labels, "provider") or UNKNOWN,
            model=_label(labels, "model") or UNKNOWN,
            streaming=False,
            status=str(labels["status"]),
            error=LOST,
            workspace=_label(labels, "workspace"),
            task=_label(labels, "task"),
            strategy=_label(labels, "strategy"),
            cost_picousd=None if number < unknown else 0,
        )
        for number in range(count)
    ]
    last = rows[-1]
    for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "latency_ms"):
        setattr(last, name, missing[name])
    fallback = missing["fallback_cost_picousd"]
    for row, cost, attempt in ((last, missing["cost_picousd"] - fallback, 1), (rows[-2:][0], fallback, 2)):
        if cost > 0:
            row.cost_picousd = (row.cost_picousd or 0) + cost
            row.attempt = attempt
    return rows


def _label(labels: Row, name: str) -> str | None:
    """Return the label of a row of sums, None where it is empty."""
    return str(labels.get(name) or "") or None


def _rows(db: sqlite3.Connection, table: str) -> list[Row]:
    found = db.execute(f"SELECT * FROM {table}")  # noqa: S608 (own names)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value
