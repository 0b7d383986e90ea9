"""Sums that a newer schema adds are those of the rows, also of the time before and of what older clients write."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.port import Span
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.maintenance.checks import wrong_sums
from llmroute.ledger.postgres.schema import migrations
from llmroute.ledger.postgres.schema.tables import COUNTERS, ROLLUP_KEY
from llmroute.ledger.postgres.statistics import merge
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.reports import grouped
from llmroute.types import DIMENSIONS
from tests.ledger.calls import NOW_MS, row, settled
from tests.ledger.stores import address, postgres
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.reports import Line
    from llmroute.ledger_location import ServerAddress
    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "postgres"]

QUARTER_MS = 900_000
DAY_MS = 96 * QUARTER_MS
CALLS = 60
# An odd number of minutes apart, so that days and quarters are cut everywhere.
EVERY_MS = 41 * 60_000 * 7
SAVED = 540
SPANS = [
    Span(None, NOW_MS + DAY_MS),
    Span(NOW_MS - 6 * DAY_MS, NOW_MS, "w1"),
    Span(NOW_MS - 7 * QUARTER_MS, NOW_MS),
    Span(NOW_MS - 5 * DAY_MS + 5 * QUARTER_MS, NOW_MS - 2 * DAY_MS - 5 * QUARTER_MS),
]


def calls(first: int, end: int) -> Iterator[Settled]:
    for number in range(first, end):
        at_ms = NOW_MS - number * EVERY_MS
        made = row(f"{number:04}", at_ms=at_ms, workspace=(None, "w1")[number % 2], model=f"m{number % 3}")
        made.task, made.strategy = (None, "chat")[number % 2], ("balanced", None)[number % 3 == 0]
        yield Settled(cached(made, number, "failed" if number % 7 == 0 else "ok"))


def cached(made: AttemptRow, cost: int, status: str = "ok") -> AttemptRow:
    """Settle a row whose prompt was read from a cache in part, which saved SAVED."""
    made.price = '{"input": 10, "output": 20, "cache_read": 1}'
    one = settled(made, cost, status)
    one.input_tokens, one.cached_input_tokens = 100, 60
    return one


def told(ledger: PostgresLedger) -> list[list[Line]]:
    with ledger.snapshot() as reading:
        return [
            grouped(reading, by, span, lambda at_ms: datetime.fromtimestamp(at_ms / 1000, UTC))
            for by in DIMENSIONS
            for span in SPANS
        ]


def faults(ledger: PostgresLedger) -> list[str]:
    with ledger.connection.transaction(read_only=True) as db:
        return wrong_sums(db, ledger.connection.schema)


@pytest.fixture
def older(address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresLedger]:
    """A ledger of before that schema with calls, most of them merged, opened by a client of today."""
    with monkeypatch.context() as earlier, PostgresLedger(address, tmp_path / "older") as ledger:
        earlier.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:3])
        earlier.setattr(migrations, "CLIENT_VERSION", 3)
        ledger.write([*calls(10, CALLS)])
        ledger.connection.call("merge_1", 40)
    with PostgresLedger(address, tmp_path / "newer") as ledger:
        yield ledger


def test_reports_are_the_same_while_and_after_the_sums_are_filled(older: PostgresLedger) -> None:
    with older.connection.transaction() as db:
        [(version,)] = db.execute("SELECT version FROM llmroute.version").fetchall()
        [(since_day,)] = db.execute("SELECT since_day FROM llmroute.coarse").fetchall()
    assert (version, since_day > NOW_MS) == (migrations.CLIENT_VERSION, True)
    older.write([*calls(0, 10)])
    costs = [[(line.key, line.cost_picousd) for line in lines] for lines in told(older)]
    steps = 0
    while older.connection.call("fill_1", 1):
        older.connection.call("merge_1", 7)
        assert faults(older) == []
        assert [[(line.key, line.cost_picousd) for line in lines] for lines in told(older)] == costs
        steps += 1
    assert steps > 5
    older.fill_sums()
    found = told(older)
    assert [[(line.key, line.cost_picousd) for line in lines] for lines in found] == costs
    assert {line.cache_saved_picousd - SAVED * line.call_count for lines in found for line in lines} == {0}
    older.connection.call("merge_1", 10_000)
    assert told(older) == found
    assert faults(older) == []


def test_calls_and_merges_while_several_hosts_update_are_in_every_sum_once(
    older: PostgresLedger, address: ServerAddress, tmp_path: Path
) -> None:
    ended = threading.Event()

    def write(number: int) -> int:
        count = 0
        with PostgresLedger(address, tmp_path / f"writer-{number}") as writer:
            while not ended.is_set():
                at_ms = NOW_MS - count % 9 * DAY_MS
                made = row(f"{number}-{count}", at_ms=at_ms, workspace="w1")
                assert writer.write([Pending(made)]) == [None]
                assert writer.write([Settled(cached(made, count))]) == [None]
                count += 1
        return count

    def fill(number: int) -> None:
        with PostgresLedger(address, tmp_path / f"filler-{number}") as filler:
            filler.fill_sums()

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        try:
            list(pool.map(fill, range(3)))
            older.connection.call("merge_1", 50)
        finally:
            ended.set()
        count = CALLS - 10 + sum(one.result() for one in writers)
    assert faults(older) == []
    whole = [sum(line.cache_saved_picousd for line in lines) for lines in told(older)[:: len(SPANS)]]
    assert whole == [SAVED * count] * len(DIMENSIONS)


def test_days_are_read_from_tables_of_days(older: PostgresLedger) -> None:
    older.fill_sums()
    older.connection.call("merge_1", 10_000)
    day = (NOW_MS - 4 * DAY_MS) // DAY_MS
    whole = told(older)
    with older.connection.transaction() as db:
        for table in ("days", "task_days", "strategy_days"):
            db.execute(f"DELETE FROM llmroute.{table} WHERE day = %s".encode(), (day,))
        db.execute("DELETE FROM llmroute.quarters WHERE quarter / 96 = %s", (day,))
    names = [name for name in DIMENSIONS for _ in SPANS]
    missed = {name for name, now, then in zip(names, told(older), whole, strict=True) if now != then}
    assert missed == set(DIMENSIONS) - {"execution", "tier"}
    count = sum((NOW_MS - number * EVERY_MS) // DAY_MS == day for number in range(10, CALLS))
    parts = ("1 day", "1 task day", "1 strategy day", f"{count} workspace quarter-hours")
    assert faults(older) == [f"the sums of {part} are not those of the rows" for part in parts]


def test_attempts_that_are_pruned_before_the_sums_are_filled_are_in_them(older: PostgresLedger) -> None:
    older.prune(NOW_MS - 5 * DAY_MS)
    [[*lines], *_] = told(older)
    assert {line.cache_saved_picousd - SAVED * line.call_count for line in lines} == {0}
    assert faults(older) == []


def test_a_group_whose_only_call_changed_is_not_reported_before_the_change_is_merged(
    address: ServerAddress, tmp_path: Path
) -> None:
    with PostgresLedger(address, tmp_path / "server") as ledger:
        ledger.write([Settled(settled(row("one", at_ms=NOW_MS - 4 * DAY_MS), 5, "ok"))])
        ledger.connection.call("merge_1", 10)
        rejected = settled(row("one", at_ms=NOW_MS - 4 * DAY_MS), 5, "rejected")
        ledger.write([Settled(rejected)])
        with ledger.snapshot() as reading:
            lines = grouped(reading, "status", SPANS[0])
    assert [(line.key, line.call_count, line.cost_picousd) for line in lines] == [({"status": "rejected"}, 1, 5)]


@pytest.mark.parametrize("version", [4, migrations.CLIENT_VERSION])
def test_many_sums_are_merged_in_few_passes_where_the_server_expects_few(
    version: int, address: ServerAddress, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:version])
    database = address.url.rpartition("/")[2]
    with closing(ServerConnection(address)) as connection:
        connection.call("recall_1")
        postgres.execute("ALTER TABLE llmroute.deltas SET (autovacuum_enabled = false)", database)
        postgres.execute(
            f"""
            INSERT INTO llmroute.deltas ({", ".join((*ROLLUP_KEY, *COUNTERS))})
            SELECT number, 'openai', 'gpt', '', '', '', 'ok', 1{", 0" * (len(COUNTERS) - 1)}
            FROM generate_series(1, 4000) AS number
            """,
            database,
        )
        # As autovacuum leaves it where few waited just then.
        known = "relpages = 100, reltuples = 1"
        postgres.execute(f"UPDATE pg_class SET {known} WHERE oid = 'llmroute.deltas'::regclass", database)
        merge(connection)
    # It reports its scans when it ends.
    session = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    wait_until(lambda: not postgres.execute(session, database))
    scans = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'deltas'"
    assert postgres.execute(scans, database)[0][0] < 100
    assert postgres.execute("SELECT count(*) FROM llmroute.deltas", database) == [(0,)]
