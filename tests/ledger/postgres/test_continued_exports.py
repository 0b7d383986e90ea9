"""Exports that continue where the last one ended pass over no attempt, while other processes write."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute.errors import LedgerError
from llmroute.ledger.entries import Settled
from llmroute.ledger.port import AttemptFilter
from llmroute.ledger.postgres.queries import writes_in_progress
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.service.client import LLMService
from llmroute.service.costs.exports.collector import send
from tests.ledger.calls import NOW_MS, row, settled
from tests.ledger.stores import address, pgbouncer, pooled, postgres
from tests.support.fault_server import FaultServer, reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmroute.ledger_location import ServerAddress
    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "pgbouncer", "pooled", "postgres"]

PROCESSES, WRITES, ROWS_OF_A_WRITE = 3, 20, 3
INSERT = """
INSERT INTO llmroute.attempts (id, request_id, attempt, started_ms, provider, model, streaming, status, usage_source)
VALUES (%s, 'slow', 1, %s, 'openai', 'gpt', 0, 'ok', 'none')
"""
# Between the id of a row and the end of its transaction.
SLOW_INSERTS = """
CREATE FUNCTION llmroute.slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(random() * 0.04);
    RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON llmroute.attempts FOR EACH ROW EXECUTE FUNCTION llmroute.slow();
"""


@pytest.fixture
def ledger(address: ServerAddress, tmp_path: Path) -> Iterator[PostgresLedger]:
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.write([Settled(settled(row("first"), 1))])
        yield ledger


def exportable(ledger: PostgresLedger) -> list[str]:
    with ledger.snapshot() as snapshot:
        until = snapshot.complete_until_id()
    with ledger.snapshot() as snapshot:
        return [one["request_id"] for one in snapshot.attempts_after(0, 9, AttemptFilter()) if one["id"] < until]


def once_it_waits(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    monkeypatch.setattr("llmroute.ledger.postgres.queries.writes_in_progress.time.sleep", lambda _s: work())


def test_a_write_that_has_taken_an_id_and_is_no_transaction_yet_is_waited_for(
    address: ServerAddress, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(address.url) as slow:
        slow.execute("LOCK TABLE llmroute.windows IN ROW EXCLUSIVE MODE")
        (number,) = slow.execute("SELECT nextval('llmroute.attempt_ids')").fetchone() or (0,)
        assert slow.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)
        ledger.write([Settled(settled(row("fast"), 1))])

        def end() -> None:
            slow.execute(INSERT.encode(), (number, NOW_MS))
            slow.commit()

        once_it_waits(monkeypatch, end)
        assert exportable(ledger) == ["first", "slow", "fast"]


def test_only_the_writes_of_this_ledger_hold_an_export_back(
    postgres: PostgresServer, address: ServerAddress, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_it_waits(monkeypatch, lambda: pytest.fail("it waits"))
    with (
        psycopg.connect(postgres.url()) as elsewhere,
        psycopg.connect(address.url) as beside,
        psycopg.connect(address.url) as reader,
    ):
        for other in (elsewhere, beside):
            other.execute("SELECT pg_current_xact_id()")
        beside.execute("CREATE TABLE windows (id int)")
        beside.execute("LOCK TABLE windows IN ROW EXCLUSIVE MODE")
        reader.execute("SELECT * FROM llmroute.windows")
        assert exportable(ledger) == ["first"]


def test_a_write_that_does_not_end_is_told(
    address: ServerAddress, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes_in_progress, "_WAIT_S", 0)
    with psycopg.connect(address.url) as stuck:
        stuck.execute("LOCK TABLE llmroute.windows IN ROW EXCLUSIVE MODE")
        with pytest.raises(LedgerError, match="still in progress"):
            exportable(ledger)


def write(number: int, address: ServerAddress, folder: Path) -> None:
    with PostgresLedger(address, folder / str(number)) as ledger:
        for one in range(WRITES):
            rows = [Settled(settled(row(f"{number}-{one}", attempt), 1)) for attempt in range(ROWS_OF_A_WRITE)]
            assert not any(ledger.write(rows))


def exported(server: FaultServer) -> list[str]:
    traces = [json.loads(each.body) for each in server.received if each.path == "/v1/traces"]
    return [span["spanId"] for one in traces for span in one["resourceSpans"][0]["scopeSpans"][0]["spans"]]


@pytest.mark.parametrize("kind", ["address", "pooled"])
def test_exports_beside_many_writers_send_every_attempt_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address: ServerAddress = request.getfixturevalue(kind)
    monkeypatch.setenv("LLMROUTE_LEDGER", address.url)
    with PostgresLedger(address, tmp_path / "one") as ledger, ledger.connection.transaction() as db:
        db.execute(SLOW_INSERTS.encode())
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(number, address, tmp_path)) for number in range(PROCESSES)]
    for writer in writers:
        writer.start()
    with serving([reply(200, b"{}")]) as server, closing(LLMService()) as service:
        while any(writer.is_alive() for writer in writers):
            send(service.core, server.url)
        send(service.core, server.url)
        spans = exported(server)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    assert len(spans) == len(set(spans)) == PROCESSES * WRITES * ROWS_OF_A_WRITE
