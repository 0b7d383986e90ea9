"""What calls teach is the same in memory, in its JSON and in the tables of SQLite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.ledger.sqlite import observations
from llmroute.ledger.statistics.memory import Memory
from llmroute.ledger.statistics.values import ProbeClaim
from tests.ledger.calls import learn
from tests.ledger.sqlite.test_observations import NOW, claimed, db, lesson, lessons, spend_retry

if TYPE_CHECKING:
    import sqlite3

    from llmroute.ledger.statistics.values import Observation

__all__ = ["db"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(taught=st.lists(lessons, max_size=12), spent=st.integers(0, 30))
def test_a_memory_that_is_kept_as_json_knows_what_tables_do(
    db: sqlite3.Connection, taught: list[Observation], spent: int
) -> None:
    memory = Memory()
    db.execute("BEGIN")
    try:
        for _ in range(spent):
            spend_retry(db, "openai", NOW)
            memory.spend_retry("openai", NOW)
        for one in taught:
            learn(db, [one])
            memory = Memory.of_json(json.loads(json.dumps(memory.as_json())))
            memory.learn(one)
        for provider in ("openai", "mistral"):
            left = memory.retries_left(provider, NOW)
            assert left == pytest.approx(observations.stored(db).retries_left(provider, NOW))
        for bucket in range(3):
            stored = observations.recall(db, bucket=bucket, task="chat", now_ms=NOW)
            held = memory.snapshot(bucket=bucket, task="chat", now_ms=NOW)
            assert held.latencies == stored.latencies
            assert held.reliabilities == stored.reliabilities
            assert sorted(held.breakers) == sorted(stored.breakers)
            assert held.output_lengths.keys() == stored.output_lengths.keys()
            assert held.cached_inputs.keys() == stored.cached_inputs.keys()
            for model, tokens in held.cached_inputs.items():
                assert tokens == pytest.approx(stored.cached_inputs[model])
            for about, lengths in held.output_lengths.items():
                assert lengths == pytest.approx(stored.output_lengths[about])
        for tier in ("", "flex"):
            claim = ProbeClaim("me", NOW, NOW + 1000, "old", tier=tier)
            may_send = memory.half_open("openai", "a", claim) is not None
            assert may_send == claimed(db, "openai", "a", claim)
    finally:
        db.execute("ROLLBACK")


def test_a_reset_closes_the_circuits_of_one_provider() -> None:
    memory = Memory()
    memory.learn(lesson(NOW, "UnreachableError"))
    memory.learn(lesson(NOW, "UnreachableError", provider="mistral"))
    assert memory.reset("openai") == 1
    assert [key.provider for key in memory.circuits] == ["mistral"]
