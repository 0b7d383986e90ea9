"""A correction of a cost, while another process has locked the attempt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from llmroute.errors import RequestError
from llmroute.ledger.entries import Settled
from llmroute.ledger.postgres import bounded_connection
from llmroute.ledger.postgres.store import PostgresLedger
from tests.ledger.calls import NOW_MS, row, settled
from tests.ledger.postgres.test_administered_server import waits_for_a_lock
from tests.ledger.stores import address, postgres
from tests.support.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from llmroute.ledger.corrections import Correction
    from llmroute.ledger_location import ServerAddress

__all__ = ["address", "postgres"]


@pytest.fixture
def ledger(address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresLedger]:
    monkeypatch.setattr(bounded_connection, "LOCK_WAIT_S", PATIENCE_S)
    with PostgresLedger(address, tmp_path / "server") as ledger:
        ledger.write([Settled(settled(row("one"), 10))])
        yield ledger


@contextmanager
def corrected_after(ledger: PostgresLedger, sql: str) -> Iterator[Future[Correction]]:
    """Correct an attempt, which finds it and then waits for a statement of another process; yield the result."""
    url = ledger.connection.address.url
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(url) as other,
        psycopg.connect(url, autocommit=True) as watching,
    ):
        other.execute(sql.encode())
        result = pool.submit(ledger.correct, "one", 45, NOW_MS)
        wait_until(lambda: result.done() or waits_for_a_lock(watching))
        other.commit()
        yield result


def test_an_attempt_that_is_deleted_meanwhile_is_not_reported_as_corrected(ledger: PostgresLedger) -> None:
    with corrected_after(ledger, "DELETE FROM llmroute.attempts") as result, pytest.raises(RequestError, match="'one'"):
        result.result()


def test_a_cost_that_changes_meanwhile_is_the_old_one_of_the_report(ledger: PostgresLedger) -> None:
    with corrected_after(ledger, "UPDATE llmroute.attempts SET cost_picousd = 30") as result:
        assert (result.result().old_picousd, result.result().new_picousd) == (30, 45)
