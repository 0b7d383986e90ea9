"""A schema of an older version: who owns it updates it after a call, others use it as it is, and no wait is endless."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute import exit_codes
from llmroute.errors import LedgerError
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.postgres import bounded_connection
from llmroute.ledger.postgres.schema import migrations
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.statistics.values import Observation, ProbeClaim
from llmroute.ledger_location import ServerAddress
from tests.ledger.calls import row, settled
from tests.ledger.stores import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer

__all__ = ["postgres"]

OLDER = 2


@pytest.fixture
def database(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database whose schema an older client created."""
    name = postgres.database().rpartition("/")[2]
    with (
        monkeypatch.context() as older,
        PostgresLedger(ServerAddress(postgres.url(name)), tmp_path / "older") as ledger,
    ):
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:OLDER])
        older.setattr(migrations, "CLIENT_VERSION", OLDER)
        ledger.write([Settled(settled(row("one"), 1))])
    return name


def version(postgres: PostgresServer, database: str) -> int:
    [(found,)] = postgres.execute("SELECT version FROM llmroute.version", database)
    return int(found)


def call(ledger: PostgresLedger, name: str) -> None:
    """Make a call as a request does."""
    now_ms = time.time_ns() // 1_000_000
    ledger.recall(bucket=0, now_ms=0)
    made = row(name)
    claim = ProbeClaim("me", now_ms, now_ms + 60_000, "mark")
    lesson = Observation("openai", "gpt", "", 0, now_ms, "mark", succeeded=True, ttft_s=0.5)
    assert ledger.write([Pending(made, claim=claim)]) == [None]
    assert ledger.write([Settled(settled(made, 1), lesson)]) == [None]


def test_the_owner_updates_the_schema_once_a_call_has_ended(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    with PostgresLedger(ServerAddress(postgres.url(database)), tmp_path / "one") as ledger:
        made = row("two")
        ledger.recall(bucket=0, now_ms=0)
        assert ledger.write([Pending(made)]) == [None]
        assert version(postgres, database) == OLDER, "nothing waits for it before the request"
        assert ledger.write([Settled(settled(made, 1))]) == [None]
        assert version(postgres, database) == migrations.CLIENT_VERSION


def test_another_role_calls_with_the_schema_that_it_finds(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    role = f"caller_of_{database}"
    for sql in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA llmroute TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA llmroute TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA llmroute TO {role}",
    ):
        postgres.execute(sql, database)
    with PostgresLedger(ServerAddress(postgres.url(database, role)), tmp_path / "one") as ledger:
        call(ledger, "two")
        assert version(postgres, database) == OLDER
        with PostgresLedger(ServerAddress(postgres.url(database)), tmp_path / "owner") as owner, owner.snapshot():
            pass
        assert version(postgres, database) == migrations.CLIENT_VERSION
        call(ledger, "three")


@contextmanager
def holding(address: ServerAddress, sql: str) -> Iterator[None]:
    """Keep a lock, as a migration does."""
    with psycopg.connect(address.url) as db:
        db.execute(sql.encode())
        yield


def test_an_update_by_another_process_is_not_waited_for(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    address = ServerAddress(postgres.url(database))
    lock = "SELECT pg_advisory_xact_lock(hashtext('llmroute'), hashtext('llmroute'))"
    with holding(address, lock), PostgresLedger(address, tmp_path / "one") as ledger:
        call(ledger, "two")
        assert version(postgres, database) == OLDER


def test_a_migration_that_lasts_is_told_in_a_line_and_waited_for_once(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_connection, "LOCK_WAIT_S", 0.2)
    address = ServerAddress(postgres.database())
    lock = "SELECT pg_advisory_xact_lock(hashtext('llmroute'), hashtext('llmroute'))"
    with holding(address, lock), PostgresLedger(address, tmp_path / "one") as ledger:
        with pytest.raises(LedgerError, match="another process creates or changes its tables") as first:
            ledger.recall(bucket=0, now_ms=0)
        assert first.value.exit_code == exit_codes.SETUP
        monkeypatch.setattr(psycopg.Connection, "connect", lambda *_, **__: pytest.fail("connected again"))
        [second] = ledger.write([Pending(row("two"))])
        assert isinstance(second, LedgerError)
        assert second.message == first.value.message
