"""Months are made, dropped and pruned beside other processes of the fleet."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.postgres.maintenance import prune
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.store import PostgresLedger
from tests.ledger.calls import FOREVER_MS, NOW_MS, model_lines, row, settled, unique
from tests.ledger.stores import address, postgres, waiting_statements
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from llmroute.ledger_location import ServerAddress
    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "postgres"]

OLD_MS, CUTOFF_MS = NOW_MS - 100 * DAY_MS, NOW_MS - 60 * DAY_MS


def count_of(address: ServerAddress, sql: str) -> int:
    with psycopg.connect(address.url) as db:
        return int((db.execute(sql.encode()).fetchone() or (0,))[0])


def test_the_first_calls_of_a_month_on_several_hosts_are_written(address: ServerAddress, tmp_path: Path) -> None:
    last_month, first = row(unique(), at_ms=OLD_MS), row(unique())
    with (
        PostgresLedger(address, tmp_path / "one") as ledger,
        psycopg.connect(address.url) as other,
        ThreadPoolExecutor() as threads,
    ):
        ledger.write([Pending(last_month)])
        other.execute("SELECT llmroute.require_month_1(%s)", (first.started_ms,))
        beginning = threads.submit(ledger.write, [Pending(first)])
        wait_until(lambda: waiting_statements(address))
        other.commit()
        assert beginning.result() == [None]


def test_an_end_that_is_written_while_pruning_begins_counts_once(address: ServerAddress, tmp_path: Path) -> None:
    lost = row(unique(), at_ms=OLD_MS, reserved=100, cost_basis="at_most", deadline_ms=1)
    with (
        PostgresLedger(address, tmp_path / "one") as one,
        PostgresLedger(address, tmp_path / "two") as two,
        psycopg.connect(address.url) as holding,
        ThreadPoolExecutor() as threads,
    ):
        one.write([Pending(lost)])
        one.recall(bucket=0, now_ms=0)
        # The end waits after it has read what is pruned, and before it changes its row: an earlier run adds the same
        # line of a spool, and is killed before it removes the line.
        holding.execute(
            "INSERT INTO llmroute.late_attempts VALUES (%s, %s, %s)", (lost.request_id, lost.attempt, lost.started_ms)
        )
        ending = threads.submit(one.write, [Settled(settled(lost, 30), spooled=True)])
        wait_until(lambda: waiting_statements(address) == 1)
        pruning = threads.submit(two.prune, CUTOFF_MS)
        wait_until(lambda: waiting_statements(address) == 2)
        holding.commit()
        assert (ending.result(), pruning.result()) == ([None], 1)
        assert [(line.call_count, line.cost_picousd) for line in model_lines(two, None, FOREVER_MS)] == [(1, 30)]
        assert ServerMaintenance(address, two.path).check(datetime.now(UTC)).sound


def test_two_hosts_may_prune_at_once(address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_know_the_months = threading.Barrier(2)
    delete = prune._delete

    def deleted_together(*arguments: object) -> int:
        if len(arguments) == 3:
            both_know_the_months.wait(PATIENCE_S)
        return delete(*arguments)  # type: ignore[arg-type]

    with PostgresLedger(address, tmp_path / "one") as one, PostgresLedger(address, tmp_path / "two") as two:
        ends = [settled(row(unique(), at_ms=OLD_MS - month * 31 * DAY_MS), 30) for month in range(6)]
        assert one.write([Settled(end) for end in ends]) == [None] * 6
        monkeypatch.setattr(prune, "_delete", deleted_together)
        with ThreadPoolExecutor() as threads:
            assert sum(threads.map(lambda ledger: ledger.prune(CUTOFF_MS), (one, two))) == 6
        assert [line.call_count for line in model_lines(one, None, FOREVER_MS)] == [6]


def test_all_turns_of_a_month_that_is_not_dropped_are_deleted(
    address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 3)
    with PostgresLedger(address, tmp_path / "one") as ledger:
        # Several in one millisecond, and a pending one that keeps the month.
        rows = [row(unique(), at_ms=OLD_MS + number // 4) for number in range(11)]
        ledger.write([Pending(rows[0]), *(Settled(settled(one, 30)) for one in rows[1:])])
        assert ledger.prune(CUTOFF_MS) == 10
    assert count_of(address, "SELECT count(*) FROM llmroute.attempts") == 1


def test_a_month_with_lost_attempts_is_dropped(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        lost = row(unique(), at_ms=OLD_MS, cost_basis="at_most", deadline_ms=1)
        ledger.write([Pending(lost), Settled(settled(row(unique(), at_ms=OLD_MS), 30))])
        assert ledger.prune(CUTOFF_MS) == 2
    assert count_of(address, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'llmroute.attempts'::regclass") == 0
    assert count_of(address, "SELECT count(*) FROM llmroute.late_attempts WHERE lost IS NOT NULL") == 1


def test_whole_months_are_dropped_where_backslashes_are_escapes(
    postgres: PostgresServer, address: ServerAddress, tmp_path: Path
) -> None:
    name = address.url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.write([Settled(settled(row("old", at_ms=OLD_MS), 5)), Settled(settled(row("new"), 5))])
        assert ledger.prune(CUTOFF_MS) == 1
    months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'llmroute.attempts'::regclass"
    assert count_of(address, months) == 1
