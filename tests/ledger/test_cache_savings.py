"""What prompt caches saved is summed to the pico-dollar, by the price in each row, whatever happens to the rows."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.ledger import opening
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.entries import Settled
from llmroute.ledger.port import Span
from llmroute.ledger.postgres.store import PostgresLedger
from llmroute.ledger.reports import grouped
from llmroute.ledger.sqlite.maintenance.integrity import check
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger_location import LedgerLocation
from llmroute.planning.usage_cost import price_as_json
from llmroute.registry.pricing import token_charges
from llmroute.types import DIMENSIONS, Price, PriceTier, Usage
from tests.ledger.calls import FOREVER_MS, NOW_MS, unique
from tests.ledger.stores import address, ledger, opened, pgbouncer, pooled, postgres

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.ledger_location import ServerAddress
    from tests.ledger.stores import Store

__all__ = ["address", "ledger", "opened", "pgbouncer", "pooled", "postgres"]

DAY_MS = 86_400_000
tokens = st.none() | st.integers(-5, 3_000)
rate = st.none() | st.integers(0, 10**7)
rates = st.fixed_dictionaries(dict.fromkeys(("input", "output", "cache_read", "cache_write", "cache_write_1h"), rate))
tiers = st.lists(
    st.builds(lambda above, known: PriceTier(above, **known), st.integers(0, 3_000), rates),
    max_size=2,
    unique_by=lambda tier: tier.above,
)
prices = st.none() | st.builds(lambda known, own: Price(**known, tiers=tuple(own)), rates, tiers)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "price": prices,
            "input_tokens": tokens,
            "cached_input_tokens": tokens,
            "cache_write_tokens": tokens,
            "cache_write_1h_tokens": tokens,
            "started_ms": st.integers(NOW_MS - 3 * DAY_MS, NOW_MS),
            "model": st.sampled_from(["a", "b"]),
            "task": st.sampled_from([None, "chat"]),
            "strategy": st.sampled_from([None, "balanced"]),
            "status": st.sampled_from(["ok", "failed", "lost"]),
        }
    ),
    min_size=1,
    max_size=8,
)


_CACHED = ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens")


def saved(told: dict[str, Any]) -> int:
    """Return what a call cost more without caches, by the rules that price it."""
    price = told["price"]
    cached, written, for_an_hour = (told[name] for name in _CACHED)
    usage = Usage(told["input_tokens"], cached, written, 0, cache_write_1h_tokens=for_an_hour)
    charges = None if price is None or (usage.input_tokens or 0) <= 0 else token_charges(usage, price)
    if charges is None:
        return 0
    full = next(one.picousd for one in charges if one.kind == "Input")
    return sum(one.tokens * (full - one.picousd) for one in charges if one.kind != "Output")


def attempt(told: dict[str, Any], workspace: str | None = None, **other: Any) -> AttemptRow:
    made = {**told, "price": price_as_json(told["price"]), "workspace": workspace, "cost_picousd": 7, **other}
    return AttemptRow(request_id=unique(), attempt=1, provider="openai", streaming=False, **made)


def summed(store: Store, workspace: str | None = None) -> dict[str, int]:
    """Return what was saved, as a report by each dimension tells it."""
    with store.snapshot() as reading:
        return {
            by: sum(
                line.cache_saved_picousd
                for line in grouped(
                    reading,
                    by,
                    Span(None, FOREVER_MS, workspace),
                    lambda at_ms: datetime.fromtimestamp(at_ms / 1000, UTC),
                )
            )
            for by in DIMENSIONS
        }


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(made=calls)
def test_savings_are_the_price_of_input_less_what_was_paid(ledger: Store, made: list[dict[str, Any]]) -> None:
    workspace = unique()
    ledger.write([Settled(attempt(told, workspace)) for told in made])
    assert summed(ledger, workspace) == dict.fromkeys(DIMENSIONS, sum(map(saved, made)))


CACHED: dict[str, Any] = {
    "price": Price(10, 20, 1, 12, 20),
    "input_tokens": 1_000,
    "cached_input_tokens": 600,
    "cache_write_tokens": 300,
    "cache_write_1h_tokens": 100,
    "started_ms": NOW_MS - 3 * DAY_MS,
    "model": "a",
    "task": "chat",
    "strategy": None,
    "status": "ok",
}


@pytest.mark.parametrize("price", ["{", "[]", '{"input": "x", "output": 1}', '{"input": 1, "output": 1, "tiers": 3}'])
def test_a_price_that_cannot_be_read_saves_nothing_and_its_call_is_written(ledger: Store, price: str) -> None:
    row = attempt(CACHED)
    row.price = price
    assert ledger.write([Settled(row)]) == [None]
    assert summed(ledger)["model"] == 0


def test_a_saving_beyond_what_sums_hold_is_a_thousand_usd(ledger: Store) -> None:
    huge = {**CACHED, "price": Price(10**15, 1, 0), "input_tokens": 10**9, "cached_input_tokens": 10**9}
    assert ledger.write([Settled(attempt(huge))]) == [None]
    assert summed(ledger)["model"] == 10**15


def test_savings_stay_through_corrections_late_ends_and_pruning(ledger: Store) -> None:
    assert saved(CACHED) == 4_000
    early, late = attempt(CACHED), attempt({**CACHED, "started_ms": NOW_MS}, status="lost")
    late.price = None
    ledger.write([Settled(early), Settled(late)])
    late.price, late.status = early.price, "ok"
    ledger.write([Settled(late), Settled(late)])
    ledger.correct(early.request_id, 1, NOW_MS)
    assert summed(ledger) == dict.fromkeys(DIMENSIONS, 8_000)
    assert ledger.prune(NOW_MS - DAY_MS) == 1
    assert summed(ledger) == dict.fromkeys(DIMENSIONS, 8_000)


def test_savings_are_those_of_the_rows_in_copies_and_for_a_check(ledger: Store, tmp_path: Path) -> None:
    ledger.write([Settled(attempt({**CACHED, "started_ms": NOW_MS - days * DAY_MS})) for days in range(3)])
    ledger.prune(NOW_MS - DAY_MS)
    ledger.backup(tmp_path / "copy.db")
    with Ledger(tmp_path / "copy.db") as copy:
        assert summed(copy) == dict.fromkeys(DIMENSIONS, 12_000)
    assert check(tmp_path / "copy.db", NOW_MS).faults == ()


def test_savings_of_rows_and_of_pruned_ones_are_moved(address: ServerAddress, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as source:
        for days in range(3):
            source.settle(attempt({**CACHED, "started_ms": NOW_MS - days * DAY_MS}))
        source.prune(NOW_MS - DAY_MS)
    target = LedgerLocation(tmp_path / "server", address)
    opening.move_to_server(LedgerLocation(tmp_path / "ledger.db"), target, NOW_MS, lambda *_: None)
    with closing(PostgresLedger(address, tmp_path / "server")) as server:
        assert summed(server) == dict.fromkeys(DIMENSIONS, 12_000)
