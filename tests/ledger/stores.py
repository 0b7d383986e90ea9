"""The stores that the behaviour tests run against: a SQLite file and a real PostgreSQL server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import ServerAddress
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


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Return what opens one ledger again and again."""
    if request.param == "sqlite":
        return partial(Ledger, tmp_path / "ledger.db")
    return partial(PostgresLedger, request.getfixturevalue("address"), tmp_path / "server")


@pytest.fixture
def ledger(opened: Opened) -> Iterator[Store]:
    with opened() as ledger:
        yield ledger
