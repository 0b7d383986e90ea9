"""What a call sends to the server: how many round trips, over how many connections, and what a lost answer changes."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import exit_codes
from llmroute.errors import LedgerError
from llmroute.ledger.entries import Pending, Settled
from llmroute.ledger.port import AttemptFilter, Span
from llmroute.ledger.postgres.connection import ServerConnection
from llmroute.ledger.postgres.health import server_status
from llmroute.ledger.postgres.shared_caps import set_cap
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.statistics.decayed import ModelKey, TaskKey
from llmroute.ledger.statistics.values import CheckResult, Observation
from llmroute.ledger_location import ServerAddress
from llmroute.service.client import LLMService
from tests.ledger.calls import NOW_MS, cap, fixed, row, settled
from tests.ledger.stores import address, postgres
from tests.support.model_server import ModelServer
from tests.support.postgres_host import Host
from tests.support.postgres_tap import PostgresTap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.ledger.entries import LedgerEntry
    from tests.support.postgres_server import PostgresServer

__all__ = ["address", "postgres"]


class CountingServer(ModelServer):
    """Notes how many round trips there were when it was asked."""

    def __init__(self, tap: PostgresTap) -> None:
        super().__init__()
        self._tap = tap
        self.trips_before: list[int] = []

    def answer(self, handler: Any, body: dict[str, Any]) -> None:
        self.trips_before.append(self._tap.trips)
        super().answer(handler, body)


@pytest.fixture
def tap(postgres: PostgresServer) -> Iterator[PostgresTap]:
    with PostgresTap(postgres.port) as tap:
        yield tap


@pytest.mark.parametrize("command", ["gen", "stream"])
@pytest.mark.parametrize("budget", ["none", "ample", "nearly spent", "shared"])
def test_a_call_takes_two_round_trips_before_it_is_sent_and_one_after(
    command: str, budget: str, tap: PostgresTap, address: ServerAddress, tmp_path: Path
) -> None:
    with CountingServer(tap) as models:
        host = Host(tmp_path, tap.url(address.url), models)
        if budget in ("ample", "nearly spent"):
            host.cap_itself(100, warn_at=1e-9 if budget == "nearly spent" else 0.8)
        if budget == "shared":
            host.run("costs", "budget", "set", "--total", "5")
        first = host.run(command, "hi", "-m", "openai/gpt-4o")
        assert first.code == 0
        assert ("of a budget is spent" in first.err) == (budget == "nearly spent")
        before = tap.trips
        assert host.run(command, "hi", "-m", "openai/gpt-4o").err == ""
        assert (models.trips_before[-1] - before, tap.trips - models.trips_before[-1]) == (2, 1)


def test_a_service_has_one_connection_and_writes_in_groups(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 40

    async def ask(service: LLMService) -> None:
        one = partial(service.generate, "hi", model="openai/gpt-4o", enable_fallback=False)
        await asyncio.gather(*(one() for _ in range(calls)))

    with ModelServer() as models:
        for name, value in models.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
        monkeypatch.setenv("LLMROUTE_LEDGER", tap.url(address.url))
        with closing(LLMService()) as service:
            asyncio.run(ask(service))
    assert tap.connections == 1
    with PostgresLedger(address, tmp_path / "audit") as ledger, ledger.snapshot() as snapshot:
        assert [one["status"] for one in snapshot.attempts(AttemptFilter())] == ["ok"] * calls


def test_a_large_group_is_written_in_several_transactions(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmroute.ledger.postgres.store.ENTRIES_AT_ONCE", 2)
    with PostgresLedger(ServerAddress(tap.url(address.url)), tmp_path / "server") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        before = tap.trips
        assert ledger.write([Settled(settled(row(f"call {number}"), 1)) for number in range(5)]) == [None] * 5
        assert tap.trips - before == 3


def test_what_is_sent_again_after_a_lost_answer_counts_once(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path
) -> None:
    with PostgresLedger(ServerAddress(tap.url(address.url)), tmp_path / "one") as ledger:
        ledger.recall(bucket=0, now_ms=0)
        total = cap(1_000)
        made = row("one", at_ms=NOW_MS)
        seen = Observation("openai", "gpt", "", 0, NOW_MS, "mark", succeeded=True, ttft_s=1.0)
        verdict = CheckResult("openai", "gpt", "chat", NOW_MS, passed=True)

        def write(entry: LedgerEntry) -> None:
            tap.lose_an_answer()
            assert ledger.write([entry]) == [None]

        write(Pending(made, [total], fixed(100), retry=True))
        write(Settled(settled(made, 70), seen))
        write(Settled(made, verdict))
        assert tap.connections == 4
        known = ledger._recalled(anew=True).memory
        assert known.retries_left("openai", NOW_MS) == pytest.approx(19.2, abs=0.01)
        assert known.checks[TaskKey("openai", "gpt", "chat")][:2] == (1, 1)
        assert known.reliabilities[ModelKey("openai", "gpt")][:2] == (1, 1)
        with ledger.snapshot() as snapshot:
            [status] = snapshot.budget_statuses([total])
            assert (status.spent_picousd, status.reserved_picousd) == (70, 0)
        with ledger.connection.transaction() as db:
            assert db.execute(b"SELECT spent_picousd, reserved_picousd FROM llmroute.windows").fetchone() == (70, 0)


def test_the_reservation_of_a_call_that_was_not_sent_is_withdrawn(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path
) -> None:
    total = cap(10**18)
    with ModelServer() as models, PostgresLedger(address, tmp_path / "audit") as audit:
        host = Host(tmp_path, tap.url(address.url), models)
        host.cap_itself(5)
        assert host.gen().code == 0
        [first] = models.requests
        tap.unanswered = b"write_1"
        refused = host.refused_line("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", code=exit_codes.BUDGET)
        assert "nothing was sent" in refused
        assert models.requests == [first]
        tap.unanswered = b""

        def books() -> tuple[list[tuple[str, int]], int]:
            with audit.snapshot() as snapshot:
                [status] = snapshot.budget_statuses([total])
                rows = [(one["status"], one["cost_picousd"]) for one in snapshot.attempts(AttemptFilter())]
            return rows, status.reserved_picousd

        for _ in range(2):
            assert host.run("costs").code == 0
            [(_, paid), withdrawn], reserved = books()
            assert (withdrawn, reserved) == (("failed", 0), 0)
            assert paid > 0


def test_a_call_that_never_reached_the_server_is_not_in_its_ledger(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path
) -> None:
    with ModelServer() as models:
        host = Host(tmp_path, tap.url(address.url), models)
        host.cap_itself(5)
        assert host.gen().code == 0
        tap.unanswered = b"recall_1"
        host.refused_line("gen", "hi", "-m", "openai/gpt-4o", "--no-fallback", code=exit_codes.BUDGET)
        tap.unanswered = b""
        assert host.calls() == 1


def no_claim(address: ServerAddress) -> None:
    ServerConnection(address).require_client()


def no_cap(address: ServerAddress) -> None:
    set_cap(ServerConnection(address), "", "day", 5, "UTC")


def no_status(address: ServerAddress) -> None:
    server_status(address, Path("unused"))


@pytest.mark.parametrize(
    ("swallowed", "command"), [(b"now_ms_1", no_status), (b"oldest_client", no_claim), (b"set_cap_1", no_cap)]
)
def test_a_command_does_not_wait_without_end_for_a_server_that_does_not_answer(
    swallowed: bytes,
    command: Callable[[ServerAddress], None],
    tap: PostgresTap,
    address: ServerAddress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tap.swallowed = swallowed
    monkeypatch.setattr("llmroute.ledger.postgres.bounded_connection.REPLY_S", 0.2)
    with pytest.raises(LedgerError, match="does not answer"):
        command(ServerAddress(tap.url(address.url)))


def test_a_transaction_in_which_the_server_stops_answering_is_left_at_once(
    tap: PostgresTap, address: ServerAddress, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = PostgresLedger(ServerAddress(tap.url(address.url)), tmp_path / "one")

    def report() -> None:
        with ledger.snapshot() as snapshot:
            tap.swallowed = b"rollups"
            ledger.connection._db.reply_within_s = 0.2  # type: ignore[union-attr]
            list(snapshot.counted(("model",), Span(None, NOW_MS)))

    with pytest.raises(LedgerError, match="does not answer"):
        report()
    assert caplog.text == ""


def test_a_verdict_that_is_sent_again_after_it_was_folded_counts_once(address: ServerAddress, tmp_path: Path) -> None:
    from llmroute.ledger.postgres.statistics import upkeep

    with PostgresLedger(address, tmp_path / "one") as ledger:
        verdict = Settled(settled(row("one"), 70), CheckResult("openai", "gpt", "chat", NOW_MS, passed=True))
        ledger.write([verdict])
        upkeep(ledger.connection, ledger._recalled(anew=True))
        ledger.write([verdict])
        assert ledger._recalled(anew=True).memory.checks[TaskKey("openai", "gpt", "chat")][:2] == (1, 1)
