"""A ledger whose URL, environment or service file names several hosts, of which the first takes no writes."""

from __future__ import annotations

import os
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.entries import Settled
from llmroute.ledger.postgres import bounded_connection
from llmroute.ledger.postgres.connecting import connected
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger_location import ServerAddress
from tests.ledger.calls import row, settled
from tests.ledger.stores import postgres
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["postgres"]

HOSTS = "127.0.0.1,127.0.0.1"
SCHEMA = "of_several_hosts"


@pytest.fixture(scope="module")
def ports(postgres: PostgresServer) -> Iterator[str]:
    """The ports of a server that takes no writes and of one that does."""
    with PostgresServer(default_transaction_read_only="on") as standby:
        yield f"{standby.port},{postgres.port}"


@pytest.mark.parametrize("named", ["url", "addresses", "environment", "service of the environment", "service"])
def test_the_server_that_takes_writes_is_used(
    named: str, ports: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ports.split(",")
    url = {
        "url": f"postgresql://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres",
        "addresses": f"postgresql://postgres@/postgres?hostaddr={HOSTS}&port={ports}",
        "service": "postgresql:///postgres?service=ledger",
    }.get(named, "postgresql://postgres@/postgres")
    if named == "environment":
        monkeypatch.setenv("PGHOST", HOSTS)
        monkeypatch.setenv("PGPORT", ports)
    if named == "service of the environment":
        monkeypatch.setenv("PGSERVICE", "ledger")
    service = tmp_path / "services.conf"
    service.write_text(f"[ledger]\nhost={HOSTS}\nport={ports}\nuser=postgres\ntarget_session_attrs=read-write\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    with PostgresLedger(ServerAddress(url, SCHEMA), tmp_path / "one") as ledger:
        assert ledger.write([Settled(settled(row(named), 1))]) == [None]


def test_the_environment_sets_the_name_of_the_application_and_how_long_is_waited_for_a_connection(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "41")
    monkeypatch.setenv("PGAPPNAME", "nightly")
    with closing(connected(ServerAddress(postgres.url()))) as db:
        known = db.info.get_parameters()
    assert (known["connect_timeout"], known["application_name"]) == ("41", "nightly")


def test_the_environment_may_have_a_password_that_is_not_utf_8(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", os.fsdecode(b"p\xe9ss"))
    with closing(connected(ServerAddress(postgres.url()))) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_long_statement_is_waited_for_on_the_server_that_works_on_it(ports: str) -> None:
    first, second = ports.split(",")
    address = ServerAddress(f"postgresql://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres", SCHEMA)
    with (
        closing(ServerConnection(address)) as connection,
        connection.transaction() as db,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(db, "reply_within_s", 0.3)
        patch.setattr(bounded_connection, "CONNECT_S", PATIENCE_S)
        assert db.execute("SELECT pg_sleep(1)").fetchone() == ("",)


def test_a_url_that_libpq_does_not_read_shows_no_part_of_its_password_in_a_traceback() -> None:
    with (
        pytest.raises(LedgerError) as raised,
        closing(ServerConnection(ServerAddress("postgresql://user:geh%zeim@127.0.0.1/db"))) as connection,
    ):
        connection.execute("SELECT 1")
    assert "geh" not in "".join(traceback.format_exception(raised.value))
