"""What the behaviour tests run against: a SQLite file, and a PostgreSQL server with and without pgbouncer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import ServerAddress
from tests.support.pgbouncer import Pgbouncer, program
from tests.support.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Store = Ledger | PostgresLedger
    Opened = Callable[[], Store]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def address(postgres: PostgresServer) -> ServerAddress:
    """A database of the test's own."""
    return ServerAddress(postgres.database())


def waiting_statements(address: ServerAddress) -> int:
    """Return how many statements wait for locks."""
    with psycopg.connect(address.url) as db:
        return len(db.execute("SELECT DISTINCT pid FROM pg_locks WHERE NOT granted").fetchall())


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresServer) -> Iterator[Pgbouncer]:
    if program() is None:
        pytest.skip("pgbouncer is not installed")
    with Pgbouncer(postgres) as pooling:
        yield pooling


@pytest.fixture
def pooled(pgbouncer: Pgbouncer, address: ServerAddress) -> ServerAddress:
    """The same database through pgbouncer."""
    return ServerAddress(pgbouncer.url(address.url))


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return what opens one ledger again and again."""
    if request.param == "sqlite":
        return partial(Ledger, tmp_path / "ledger.db")
    server = "pooled" if request.param == "pgbouncer" else "address"
    return partial(PostgresLedger, request.getfixturevalue(server), tmp_path / "server")


@pytest.fixture
def ledger(opened: Opened) -> Iterator[Store]:
    with opened() as ledger:
        yield ledger
