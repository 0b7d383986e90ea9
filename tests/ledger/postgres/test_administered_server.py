"""A server whose administrator set defaults of transactions, and one that was restored from an older copy."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute.errors import BudgetExceededError, LedgerError
from llmroute.execution.accounting.ledger_access import LedgerAccess
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.entries import as_json, begin_json
from llmroute.ledger.postgres.shared_caps import last_seen, set_cap
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger_location import LedgerLocation, ServerAddress
from tests.ledger.calls import cap, fixed, row, settled
from tests.ledger.stores import address, pgbouncer, pooled, postgres
from tests.support.postgres_server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

    __all__ = ["address", "pgbouncer", "pooled", "postgres"]


def waits_for_a_lock(database: psycopg.Connection) -> bool:
    row = database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None and row[0] > 0


@pytest.mark.parametrize("server", ["address", "pooled"])
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_cap_counts_what_another_host_commits_meanwhile_at_any_default_isolation(
    level: str, server: str, request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> None:
    address: ServerAddress = request.getfixturevalue("address")
    name = address.url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    with PostgresLedger(request.getfixturevalue(server), tmp_path / "one") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        outcomes = []
        own = threading.Thread(
            target=lambda: outcomes.extend(ledger.write([Pending(row("own"), [cap(150)], fixed(100))]))
        )
        with psycopg.connect(address.url) as other, psycopg.connect(address.url, autocommit=True) as watching:
            other.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            entries = as_json([begin_json(Pending(row("other")), (), (0, 0))])
            other.execute("SELECT llmroute.write_1(%s, '[]', 1000, NULL)", (entries,))
            own.start()
            while not waits_for_a_lock(watching):
                assert own.is_alive()
            other.commit()
        own.join()
    assert [type(outcome) for outcome in outcomes] == [BudgetExceededError]


def test_the_caps_of_an_older_copy_bind_under_the_version_of_others(address: ServerAddress, tmp_path: Path) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger, PostgresLedger(address, tmp_path / "other") as other:
        set_cap(other.connection, "", "total", 100, "UTC")
        ledger.recall(bucket=0, now_ms=0)
        with other.connection.transaction() as db:
            db.execute(b"UPDATE llmroute.caps SET cap_picousd = 50")
        ledger.recall(bucket=0, now_ms=0)
        assert ledger.shared_caps is not None
        assert [one.cap_picousd for one in ledger.shared_caps] == [50]
        assert last_seen(ledger.path) == ledger.shared_caps


@pytest.mark.parametrize("table", ["memory", "version", "caps_version"])
def test_a_schema_that_was_restored_without_its_data_is_told(
    table: str, postgres: PostgresServer, address: ServerAddress, tmp_path: Path
) -> None:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        postgres.execute(f"DELETE FROM llmroute.{table}", address.url.rpartition("/")[2])
        with pytest.raises(LedgerError, match="without its data"):
            ledger.recall(bucket=0, now_ms=0)


def test_what_is_committed_survives_a_crash_of_a_server_that_commits_asynchronously(tmp_path: Path) -> None:
    # Nothing else writes the log to disk before the crash.
    with PostgresServer(synchronous_commit="off", wal_writer_delay="10s") as server:
        with PostgresLedger(ServerAddress(server.database()), tmp_path / "one") as ledger:
            ledger.recall(bucket=0, now_ms=0)
            assert ledger.write([Pending(row("reserved"), [cap(1_000)], fixed(100))]) == [None]
            assert ledger.write([Settled(settled(row("paid"), 70))]) == [None]
            server.stop()
            server.start()
            with ledger.snapshot() as snapshot:
                [status] = snapshot.budget_statuses([cap(1_000)])
        assert (status.spent_picousd, status.reserved_picousd) == (70, 100)


def test_a_missing_root_certificate_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take_encryption() -> None:
            with listener.accept()[0] as client:
                client.recv(8)
                client.sendall(b"S")
                client.recv(1)

        threading.Thread(target=take_encryption, daemon=True).start()
        certificate = tmp_path / "missing.crt"
        options = f"sslmode=verify-full&sslrootcert={certificate}"
        address = ServerAddress(
            f"postgresql://user@localhost:{listener.getsockname()[1]}/db?{options}&hostaddr=127.0.0.1"
        )
        with pytest.raises(LedgerError) as raised:
            ServerConnection(address).call("now_ms_1")
    assert f'root certificate file "{certificate}" does not exist' in raised.value.message


def test_a_step_of_this_machines_clock_does_not_move_the_time_of_the_ledger(
    address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = LedgerAccess(LedgerLocation(tmp_path / "one", address), None, note=print, capped=False, wait_s=10)
    access.ledger().recall(bucket=0, now_ms=0)
    before_ms = access.now_ms()
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 200_000 * 10**9)
    after_ms = access.now_ms()
    access.close()
    assert after_ms - before_ms < 100_000_000
