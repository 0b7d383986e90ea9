"""A server that takes a statement and never answers is given up; one that works on a long one is waited for."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from llmroute.cli.signals import Interrupted
from llmroute.errors import LedgerError
from llmroute.ledger.entries import Settled
from llmroute.ledger.lock_timeout import LockTimeout
from llmroute.ledger.postgres import bounded_connection, writes
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.health import server_status
from llmroute.ledger.postgres.maintenance.move import move
from llmroute.ledger.postgres.maintenance.server_maintenance import ServerMaintenance
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import ServerAddress
from tests.ledger.calls import NOW_MS, row, settled
from tests.ledger.stores import address, pgbouncer, pooled, postgres
from tests.support.postgres_tap import PostgresTap
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "pgbouncer", "pooled", "postgres"]


@pytest.fixture
def tap(postgres: PostgresServer) -> Iterator[PostgresTap]:
    with PostgresTap(postgres.port) as tap:
        yield tap


@pytest.fixture
def ledger(tap: PostgresTap, address: ServerAddress, tmp_path: Path) -> Iterator[PostgresLedger]:
    """A ledger with a call, behind the tap, and a file beside it that may be moved."""
    with Ledger(tmp_path / "file.db") as file:
        file.settle(settled(row("moved"), 1))
    with PostgresLedger(ServerAddress(tap.url(address.url)), tmp_path / "server") as ledger:
        assert ledger.write([Settled(settled(row("call"), 1))]) == [None]
        yield ledger


def use(ledger: PostgresLedger, what: str) -> None:
    """Have a ledger do something that sends statements."""
    path, connection = ledger.path, ledger.connection
    uses: dict[str, Callable[[], object]] = {
        "health": lambda: server_status(connection.address, path),
        "check": lambda: ServerMaintenance(connection.address, path).check(datetime.now(UTC)),
        "correct": lambda: ledger.correct("call/1", 7, NOW_MS),
        "prune": lambda: ledger.prune(NOW_MS + 10_000_000),
        "backup": lambda: ledger.backup(path.with_name("copy.db")),
        "move": lambda: move(connection, path.with_name("file.db"), NOW_MS, lambda _, __: None),
    }
    uses[what]()


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("health", b"server_version"),
        ("check", b"sums_of_window_1"),
        ("correct", b"UPDATE"),
        ("correct", b"COMMIT"),
        ("prune", b"DELETE"),
        ("backup", b"FETCH"),
        ("move", b"move_1"),
    ],
)
def test_a_statement_whose_answer_never_comes_is_given_up(
    what: str, statement: bytes, tap: PostgresTap, ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    tap.swallowed = statement
    ledger.connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_connection, "REPLY_S", 0.2)
        with pytest.raises(LedgerError, match="cannot be reached: the server does not answer"):
            use(ledger, what)
    assert not caplog.records, "psycopg warns of a rollback that fails"


def test_a_server_that_stalled_is_asked_again_by_a_process_that_makes_calls_all_the_time(
    tap: PostgresTap, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "REPLY_S", 0.1)
    monkeypatch.setattr(writes, "LOCK_MARGIN_S", 0.1)
    monkeypatch.setattr("llmroute.ledger.postgres.connecting._AWAY_S", 0.3)
    tap.swallowed = b"stalled"
    [outcome] = ledger.write([Settled(settled(row("stalled"), 1))], LockTimeout(0))
    assert isinstance(outcome, LedgerError)
    tap.swallowed = b""
    monkeypatch.setattr(writes, "REPLY_S", bounded_connection.REPLY_S)
    until_s = time.monotonic() + 20
    while isinstance(outcome, LedgerError):
        assert time.monotonic() < until_s, outcome.message
        [outcome] = ledger.write([Settled(settled(row("after"), 1))], LockTimeout(0))


@pytest.mark.parametrize("server", ["address", "pooled"])
def test_a_statement_is_waited_for_while_the_server_works_on_it(server: str, request: pytest.FixtureRequest) -> None:
    with (
        closing(ServerConnection(request.getfixturevalue(server))) as connection,
        connection.transaction() as db,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(db, "reply_within_s", 0.3)
        assert db.execute("SELECT pg_sleep(1)").fetchone() == ("",)


def test_a_signal_within_a_transaction_leaves_no_warning_of_the_driver_and_a_connection_that_works(
    address: ServerAddress, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"

    def interrupt() -> None:
        wait_until(lambda: postgres.execute(asleep))
        os.kill(os.getpid(), signal.SIGUSR1)

    def raise_interrupted(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGUSR1, raise_interrupted)
    try:
        with closing(ServerConnection(address)) as connection, ThreadPoolExecutor(1) as pool:
            pool.submit(interrupt)
            with pytest.raises(Interrupted), connection.transaction() as db:
                db.execute("SELECT pg_sleep(600)")
            assert not caplog.records
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_locks_of_a_client_that_stops_within_a_transaction_are_released(
    address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute.ledger.postgres.bounded_connection._IDLE_S", 0.2)
    with PostgresLedger(address, tmp_path / "stopped") as stopped, PostgresLedger(address, tmp_path / "other") as other:
        assert other.write([Settled(settled(row("first"), 1))]) == [None]

        def lock_and_stop() -> None:
            with stopped.connection.transaction() as db:
                db.execute("LOCK TABLE llmroute.attempts IN ACCESS EXCLUSIVE MODE")
                assert other.write([Settled(settled(row("second"), 1))]) == [None]
                db.execute("SELECT 1")

        with pytest.raises(LedgerError, match="idle-in-transaction"):
            lock_and_stop()
        assert stopped.write([Settled(settled(row("third"), 1))]) == [None]
