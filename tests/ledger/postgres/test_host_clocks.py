"""A host whose clock differs from the server's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import LLMService
from llmroute.errors import BudgetExceededError
from llmroute.execution.accounting.budget import Admission, RequestBudget
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.clock import Clock
from llmroute.execution.operations import Begin
from llmroute.ledger.buckets import DAY_MS
from llmroute.ledger.budgets import SharedCap
from llmroute.ledger.postgres import store, writes
from llmroute.ledger.postgres.shared_caps import keep, set_cap
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.statistics.values import ProbeClaim
from llmroute.ledger_location import LedgerLocation, ServerAddress
from tests.ledger.calls import fixed, row
from tests.ledger.stores import address, postgres
from tests.support.postgres_server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.errors import LedgerError
    from llmroute.ledger.entries import Refusal

__all__ = ["address", "postgres"]


@pytest.fixture
def server_ms(monkeypatch: pytest.MonkeyPatch) -> int:
    """Put the clock of this machine three days ahead; return the time of the server."""
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 3 * DAY_MS * 1_000_000)
    return real_ns() // 1_000_000


def test_an_attempt_that_was_planned_without_the_server_begins_in_todays_window(
    postgres: PostgresServer, tmp_path: Path, server_ms: int
) -> None:
    url = postgres.database()
    with PostgresLedger(ServerAddress(url), tmp_path / "other") as other:
        set_cap(other.connection, "", "day", 150, "UTC")
        # Of another host, to this process: the same server at another address.
        writer = LedgerWriter(LedgerLocation(tmp_path / "one", ServerAddress(f"{url}?sslmode=disable")), print)
        keep(writer.access.path, (SharedCap("", "day", 150, "UTC"),))
        made = row("one", at_ms=writer.access.now_ms())
        made.deadline_ms = made.started_ms + 60_000
        claim = ProbeClaim("me", made.started_ms, made.deadline_ms)
        writer.begin(Begin(made, Admission(fixed(100), RequestBudget(), claim), Clock()))
        assert abs(made.started_ms - server_ms) < DAY_MS
        assert made.deadline_ms == made.started_ms + 60_000
        [window] = other.connection.execute("SELECT start_ms, end_ms, reserved_picousd FROM llmroute.windows")
        assert window[0] <= made.started_ms < window[1]
        assert window[2] == 100
        again = row("two", at_ms=writer.access.now_ms())
        with pytest.raises(BudgetExceededError):
            writer.begin(Begin(again, Admission(fixed(100), RequestBudget()), Clock()))
        writer.access.close()


def test_the_time_of_the_server_is_known_while_it_is_away_and_after(tmp_path: Path, server_ms: int) -> None:
    with PostgresServer() as server:
        writer = LedgerWriter(LedgerLocation(tmp_path / "one", ServerAddress(server.database())), print)
        writer.statistics.recall(bucket=0, now_ms=0)
        server.stop()
        # The error closes the ledger.
        writer.begin(Begin(row("one"), Admission(None, RequestBudget()), Clock()))
        assert abs(writer.access.now_ms() - server_ms) < DAY_MS
        server.start()
        writer.access.ledger()
        assert abs(writer.access.now_ms() - server_ms) < DAY_MS
        writer.access.close()


def test_corrections_and_calls_made_elsewhere_have_the_time_of_the_server(
    address: ServerAddress, tmp_path: Path, server_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("LLMROUTE_LEDGER", address.url)
    service = LLMService()
    service.track_usage("openai", "gpt", success=True, latency_ms=1, cost_usd=1)
    service.close()
    with PostgresLedger(address, tmp_path / "one") as ledger:
        ledger.correct("1", 5, server_ms + 3 * DAY_MS)
        [times] = ledger.connection.execute("SELECT started_ms, settled_ms, corrected_ms FROM llmroute.attempts")
    assert all(abs(at_ms - server_ms) < DAY_MS for at_ms in times)


def test_attempts_that_were_written_before_a_cap_was_set_begin_once(
    address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LedgerWriter(LedgerLocation(tmp_path / "one", address), print)
    writer.statistics.recall(bucket=0, now_ms=0)
    written = writes.write

    def then_a_cap_is_set(*arguments: Any) -> list[LedgerError | Refusal | None]:
        outcomes = written(*arguments)
        monkeypatch.setattr(store, "write", written)
        set_cap(writer.access.ledger().connection, "", "total", 1_000, "UTC")  # type: ignore[attr-defined]
        return outcomes

    # Each attempt is a transaction of its own.
    monkeypatch.setattr(store, "ENTRIES_AT_ONCE", 1)
    monkeypatch.setattr(store, "write", then_a_cap_is_set)
    begun_ms = writer.access.now_ms() - 1_000
    rows = [row(name, at_ms=begun_ms) for name in ("one", "two")]
    writer.write([Begin(made, Admission(fixed(100), RequestBudget()), Clock()) for made in rows])
    with PostgresLedger(address, tmp_path / "other") as other:
        found = [*other.connection.execute("SELECT request_id, started_ms FROM llmroute.attempts ORDER BY 1")]
    writer.access.close()
    assert found == [("one", begun_ms), ("two", begun_ms)]
