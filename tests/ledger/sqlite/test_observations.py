"""What calls teach, whatever they were and whatever the clock did: finite, bounded, and never for ever."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.circuits import FOR_GOOD_MS, HOUR_MS, BreakerRule, TripReason
from llmroute.ledger.sqlite import observations
from llmroute.ledger.sqlite.store import Ledger
from llmroute.ledger.statistics import latency
from llmroute.ledger.statistics.breakers import LONGEST_OPEN_MS, LONGEST_OPEN_OF_MODEL_MS
from llmroute.ledger.statistics.decayed import OUTPUT_LENGTH_HALF_LIFE_MS
from llmroute.ledger.statistics.retry_tokens import RETRY_TOKENS
from llmroute.ledger.statistics.values import Breaker, Observation, ProbeClaim
from llmroute.planning.model_stats import cached_share
from llmroute.routing.fallback import RULES
from llmroute.routing.latency_estimate import Evidence, estimate
from tests.ledger.calls import learn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_800_000_000_000
MODELS = ("a", "b")
FAR = 74 * 365 * 24 * HOUR_MS
trips = st.sampled_from([rule.trip for rule in RULES.values()])
lessons = st.builds(
    Observation,
    provider=st.sampled_from(["openai", "mistral"]),
    model=st.sampled_from(MODELS),
    effort=st.sampled_from(["", "high"]),
    bucket=st.integers(0, 2),
    at_ms=st.integers(NOW - HOUR_MS, NOW + HOUR_MS) | st.sampled_from([0, NOW - FAR, NOW + FAR]),
    fingerprint=st.sampled_from(["old", "new"]),
    succeeded=st.sampled_from([None, True, False]),
    ttft_s=st.none() | st.floats(0, 1e6),
    per_token_s=st.none() | st.floats(0, 1e3),
    trip=trips,
    answered=st.booleans(),
    task=st.sampled_from(["", "chat"]),
    tier=st.sampled_from(["", "flex"]),
    input_tokens=st.none() | st.integers(0, 10**7),
    cached_tokens=st.integers(0, 10**7),
    output_tokens=st.none() | st.integers(0, 10**6),
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger.db


def lesson(at_ms: int = NOW, name: str = "TransientError", **values: object) -> Observation:
    """A failure of one class."""
    trip = next(rule.trip for kind, rule in RULES.items() if kind.__name__ == name)
    plain = Observation("openai", "a", "", 0, at_ms, "old", succeeded=False, trip=trip)
    return plain._replace(**values)  # type: ignore[arg-type]


def open_breakers(db: sqlite3.Connection, now_ms: int) -> list[Breaker]:
    return observations.recall(db, bucket=0, now_ms=now_ms).breakers


def claimed(db: sqlite3.Connection, provider: str, model: str, claim: ProbeClaim) -> bool:
    with observations.changing(db) as memory:
        return memory.claim_probe(provider, model, claim)


def spend_retry(db: sqlite3.Connection, provider: str, now_ms: int) -> None:
    with observations.changing(db) as memory:
        memory.spend_retry(provider, now_ms)


def open_until(db: sqlite3.Connection, now_ms: int) -> list[int]:
    return [breaker.open_until_ms for breaker in open_breakers(db, now_ms)]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    taught=st.lists(lessons, max_size=12),
    spent=st.integers(0, 30),
    now_ms=st.integers(NOW - HOUR_MS, NOW + HOUR_MS) | st.sampled_from([0, NOW - FAR, NOW + FAR]),
)
def test_what_is_remembered_is_finite_and_bounded(
    db: sqlite3.Connection, taught: list[Observation], spent: int, now_ms: int
) -> None:
    db.execute("BEGIN")
    try:
        for one in taught:
            learn(db, [one])
        for _ in range(spent):
            spend_retry(db, "openai", now_ms)
        assert 0 <= observations.stored(db).retries_left("openai", now_ms) <= RETRY_TOKENS
        for bucket in range(3):
            told = observations.recall(db, bucket=bucket, now_ms=now_ms)
            for evidence in map(Evidence._make, told.latencies.values()):
                assert 0 <= evidence.weight <= len(taught)
                assert math.isfinite(estimate(evidence, 1.0, told.calls_per_h))
            for answers, tokens, of_task, task_tokens in told.output_lengths.values():
                assert 0 <= of_task <= answers <= len(taught)
                assert 0 <= task_tokens <= tokens < math.inf
            for tokens, cached, of_task, cached_of_task in told.cached_inputs.values():
                assert 0 <= cached <= tokens
                assert 0 <= cached_of_task <= of_task <= tokens
                assert 0 <= cached_share(tokens, cached, of_task, cached_of_task) <= 1
            assert all(0 <= ok <= calls <= len(taught) for ok, calls in told.reliabilities.values())
            for breaker in told.breakers:
                usual_ms = LONGEST_OPEN_OF_MODEL_MS if breaker.kind == "model" else LONGEST_OPEN_MS
                longest_ms = FOR_GOOD_MS if breaker.reason is TripReason.KEY_REFUSED else usual_ms
                assert now_ms < breaker.open_until_ms <= now_ms + longest_ms
    finally:
        db.execute("ROLLBACK")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(taught=st.lists(lessons, max_size=12), spent=st.integers(0, 30), apart_ms=st.integers(0, HOUR_MS))
def test_lessons_that_are_taken_in_at_once_are_what_each_is_by_itself(
    db: sqlite3.Connection, taught: list[Observation], spent: int, apart_ms: int
) -> None:
    taught = [one._replace(at_ms=NOW + number * apart_ms) for number, one in enumerate(taught)]

    def state(groups: list[list[Observation]]) -> list[tuple[object, ...]]:
        db.execute("BEGIN")
        try:
            for _ in range(spent):
                spend_retry(db, "openai", NOW)
            for group in groups:
                learn(db, group)
            tables = ("latencies", "reliabilities", "breakers")
            found = [row for table in tables for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5")]
            tokens = [
                (name, round(observations.stored(db).retries_left(name, NOW + len(taught) * apart_ms), 6))
                for name in ("openai", "mistral")
            ]
            return [*found, *tokens]
        finally:
            db.execute("ROLLBACK")

    assert state([taught]) == state([[one] for one in taught])


def test_a_clock_that_was_far_ahead_keeps_nobody_out(db: sqlite3.Connection) -> None:
    for name in ("UnreachableError", "QuotaError", "ModelGoneError", "RateLimitError"):
        learn(db, [lesson(NOW + FAR, name)])
    assert len(open_until(db, NOW + FAR)) == 4
    assert open_until(db, NOW) == []
    prober = ProbeClaim("me", NOW, NOW + HOUR_MS, "old")
    assert claimed(db, "openai", "a", prober)
    learn(db, [lesson(NOW, "UnreachableError")])
    [until_ms] = open_until(db, NOW)
    assert until_ms <= NOW + 60_000, "what is learned now counts from now"


def test_a_clock_that_jumps_back_by_a_moment_still_lets_in_within_the_hour(db: sqlite3.Connection) -> None:
    learn(db, [lesson(NOW, "UnreachableError")])
    back = NOW - 600_000
    assert all(until_ms <= back + HOUR_MS for until_ms in open_until(db, back))
    assert open_until(db, NOW + 31_000) == []


def test_latency_that_was_learned_while_the_clock_was_ahead_is_forgotten_like_any_other(
    db: sqlite3.Connection,
) -> None:
    slow = lesson(NOW + FAR)._replace(ttft_s=50.0, trip=None)
    learn(db, [slow])
    learn(db, [slow._replace(at_ms=NOW, ttft_s=0.5)])
    later = observations.recall(db, bucket=0, now_ms=NOW + 20 * latency.HALF_LIFE_MS)
    assert Evidence(*later.latencies["openai", "a", "", "ttft"]).weight < 0.001


def test_rests_double_to_their_bound_and_a_success_ends_them(db: sqlite3.Connection) -> None:
    now_ms, rests = NOW, []
    for _ in range(8):
        learn(db, [lesson(now_ms, "UnreachableError")])
        [until_ms] = open_until(db, now_ms)
        rests.append((until_ms - now_ms) // 1000)
        now_ms = until_ms + 1
    assert rests == [30, 60, 120, 240, 480, 900, 900, 900]
    learn(db, [Observation("openai", "b", "", 0, now_ms, "old", succeeded=True)])
    learn(db, [lesson(now_ms, "UnreachableError")])
    assert open_until(db, now_ms) == [now_ms + 30_000]


def test_a_new_key_does_not_inherit_what_the_old_one_did(db: sqlite3.Connection) -> None:
    learn(db, [lesson(NOW, "AuthenticationError")])
    learn(db, [lesson(NOW, "QuotaError", fingerprint="new")])
    [breaker] = open_breakers(db, NOW)
    assert (breaker.reason, breaker.open_until_ms) == ("no credit", NOW + 15 * 60_000)
    assert claimed(db, "openai", "a", ProbeClaim("me", NOW, NOW + 1, "third"))


def test_one_wins_the_probe_until_it_is_dead_and_who_planned_before_a_failure_does_not_call(
    db: sqlite3.Connection,
) -> None:
    learn(db, [lesson(NOW, "UnreachableError")])
    assert not claimed(db, "openai", "a", ProbeClaim("early", NOW + 1, NOW + 9_000, "old"))
    assert claimed(db, "openai", "a", ProbeClaim("early", NOW + 1, NOW + 9_000, "old", awake=True))
    half = NOW + 31_000
    assert claimed(db, "openai", "a", ProbeClaim("one", half, half + 5_000, "old"))
    assert claimed(db, "openai", "a", ProbeClaim("one", half + 1, half + 5_000, "old")), "it asks once more"
    assert not claimed(db, "openai", "a", ProbeClaim("two", half + 1, half + 5_000, "old"))
    assert [breaker.probing for breaker in open_breakers(db, half + 1)] == [True]
    assert claimed(db, "openai", "a", ProbeClaim("two", half + 5_001, half + 9_000, "old")), "it has died"


def test_retries_run_out_and_come_back(db: sqlite3.Connection) -> None:
    for _ in range(25):
        spend_retry(db, "openai", NOW)
    assert observations.stored(db).retries_left("openai", NOW) == 0
    assert observations.stored(db).retries_left("openai", NOW + 60_000) == pytest.approx(1)
    for _ in range(10):
        learn(db, [Observation("openai", "a", "", 0, NOW, "old", succeeded=True)])
    assert observations.stored(db).retries_left("openai", NOW) == pytest.approx(2)
    assert observations.stored(db).retries_left("openai", NOW + FAR) == RETRY_TOKENS
    assert observations.stored(db).retries_left("mistral", NOW) == RETRY_TOKENS


@pytest.mark.parametrize("reason", TripReason)
def test_the_reason_of_an_open_circuit_is_stored_as_the_text_that_older_versions_read(
    db: sqlite3.Connection, reason: TripReason
) -> None:
    learn(db, [lesson(trip=BreakerRule("key", reason, HOUR_MS, HOUR_MS))])
    stored = db.execute("SELECT reason, typeof(reason) FROM breakers").fetchone()
    assert tuple(stored) == (reason.value, "text")
    assert [one.reason for one in open_breakers(db, NOW)] == [reason]


def test_a_circuit_that_a_newer_version_opened_stays_open_for_a_reason_this_one_does_not_know(
    db: sqlite3.Connection,
) -> None:
    learn(db, [lesson(trip=BreakerRule("key", TripReason.NO_CREDIT, HOUR_MS, HOUR_MS))])
    db.execute("UPDATE breakers SET reason = 'moon in the way'")
    assert [one.reason for one in open_breakers(db, NOW)] == [TripReason.FAILURES]


def test_lengths_fade_to_the_moment_of_reading_and_a_clock_that_was_ahead_keeps_none(db: sqlite3.Connection) -> None:
    answer = lesson(NOW)._replace(succeeded=True, trip=None, task="chat", output_tokens=900)
    learn(db, [answer, answer._replace(task="")])
    half_life_ms = OUTPUT_LENGTH_HALF_LIFE_MS
    for half_lives in (0, 1, 3):
        told = observations.recall(db, bucket=0, task="chat", now_ms=NOW + half_lives * half_life_ms)
        rest = 0.5**half_lives
        assert told.output_lengths["openai", "a", ""] == pytest.approx((2 * rest, 1800 * rest, rest, 900 * rest))
    learn(db, [answer._replace(at_ms=NOW + FAR), answer])
    later = observations.recall(db, bucket=0, task="chat", now_ms=NOW + 20 * half_life_ms)
    assert later.output_lengths["openai", "a", ""][0] < 0.001


def test_an_answer_after_a_half_life_counts_twice_as_much_as_the_one_before(db: sqlite3.Connection) -> None:
    answer = lesson(NOW)._replace(succeeded=True, trip=None, output_tokens=3000)
    then = NOW + OUTPUT_LENGTH_HALF_LIFE_MS
    learn(db, [answer])
    learn(db, [answer._replace(at_ms=then, output_tokens=600)])
    answers, tokens, *_ = observations.recall(db, bucket=0, now_ms=then).output_lengths["openai", "a", ""]
    assert (answers, tokens) == pytest.approx((1.5, 0.5 * 3000 + 600))
