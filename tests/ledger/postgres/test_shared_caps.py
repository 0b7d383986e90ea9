"""The caps that a host saw last, for runs that cannot reach the server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import LLMService
from llmroute.execution.accounting.statistics_reader import LOOK_S
from llmroute.ledger import opening, spool
from llmroute.ledger.budgets import SharedCap
from llmroute.ledger.postgres.shared_caps import keep, last_seen
from tests.ledger.stores import address, postgres
from tests.support.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.ledger.port import LedgerPort
    from llmroute.ledger_location import ServerAddress

__all__ = ["address", "postgres"]

OLD, NEW = ((SharedCap("", "total", picousd, "UTC"),) for picousd in (10, 20))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "server"
    yield path
    for place in spool.places(path):
        place.with_suffix(".caps").unlink(missing_ok=True)


def hold(place: Path) -> None:
    """Put what can be neither replaced nor deleted in place of a file."""
    place.unlink(missing_ok=True)
    (place / "held").mkdir(parents=True)


def release(place: Path) -> None:
    (place / "held").rmdir()
    place.rmdir()


def test_a_host_that_saw_no_caps_does_not_know_them(path: Path) -> None:
    assert last_seen(path) is None


def test_caps_that_cannot_be_kept_beside_the_spool_are_kept_elsewhere_until_they_can(path: Path) -> None:
    beside = path.with_name("server.caps")
    keep(path, OLD)
    assert last_seen(path) == OLD
    hold(beside)
    keep(path, NEW)
    assert last_seen(path) == NEW
    release(beside)
    keep(path, OLD)
    assert last_seen(path) == OLD
    assert [place.with_suffix(".caps").exists() for place in spool.places(path)] == [True, False]


def test_caps_that_no_file_takes_are_unknown_not_those_of_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path, OLD)

    def full(_: Path) -> tuple[int, Path]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmroute.ledger.postgres.shared_caps.new_file_beside", full)
    keep(path, NEW)
    assert last_seen(path) is None


def test_first_calls_of_threads_wait_for_the_one_that_opens_the_ledger(
    address: ServerAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("[timeouts]\nledger_s = 60")
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
    opened = opening.open_for_requests

    def slowly(*arguments: Any, **named: Any) -> LedgerPort:
        time.sleep(2 * LOOK_S)
        return opened(*arguments, **named)

    monkeypatch.setattr(opening, "open_for_requests", slowly)
    monkeypatch.setenv("LLMROUTE_LEDGER", address.url)
    with ModelServer() as server, ThreadPoolExecutor(4) as threads:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        with closing(LLMService()) as service:
            calls = [threads.submit(service.generate_sync, "hi", model="openai/gpt-5.4") for _ in range(4)]
            assert {call.result().content for call in calls} == {"one two three"}
