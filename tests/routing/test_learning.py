"""What is learned, checked by arithmetic of its own: powers of two for what fades, products of roots for means."""

from __future__ import annotations

import sqlite3
from math import e, prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmroute.ledger import memory
from llmroute.ledger.memory import Lesson, LogMean
from llmroute.ledger.schema import migrate
from llmroute.routing.learning import (
    NOTHING,
    Evidence,
    bucket,
    estimate,
    prior_of,
    success_probability,
)

HOUR_MS = 3_600_000
seconds = st.floats(0.01, 300)
observed = st.lists(st.tuples(seconds, st.integers(0, 30 * HOUR_MS)), min_size=1, max_size=8)


def expected(samples: list[tuple[float, int]], prior: float, now_ms: int) -> float:
    """Return the weighted geometric mean of the samples and of the prior, less one deviation of it."""
    weights = [2.0 ** -((now_ms - at_ms) / (2 * HOUR_MS)) for _, at_ms in samples]
    whole = sum(weights) + 1
    mean = prod(value ** (weight / whole) for (value, _), weight in zip(samples, weights, strict=True))
    return float(mean * prior ** (1 / whole) / e ** (0.6 / whole**0.5))


@settings(max_examples=100, deadline=None)
@given(samples=observed, prior=seconds, later_ms=st.integers(0, 48 * HOUR_MS))
def test_an_estimate_is_the_fading_geometric_mean_with_the_prior_less_one_deviation(
    samples: list[tuple[float, int]], prior: float, later_ms: int
) -> None:
    samples.sort(key=lambda sample: sample[1])
    mean = LogMean(0.0, 0.0, samples[0][1])
    for value, at_ms in samples:
        mean = mean.joined(value, at_ms)
    now_ms = samples[-1][1] + later_ms
    assert estimate(Evidence(*mean.weighing(now_ms)), prior) == pytest.approx(expected(samples, prior, now_ms))


@settings(max_examples=30, deadline=None)
@given(samples=observed, later_ms=st.integers(0, 48 * HOUR_MS))
def test_the_ledger_keeps_what_the_formula_says(samples: list[tuple[float, int]], later_ms: int) -> None:
    samples.sort(key=lambda sample: sample[1])
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, fresh=True)
    for value, at_ms in samples:
        memory.learn(
            db, [Lesson("openai", "m", "", 2, at_ms, "", succeeded=True, ttft_s=value, per_token_s=value / 100)]
        )
    now_ms = samples[-1][1] + later_ms
    told = memory.recall(db, bucket=2, effort="", now_ms=now_ms)
    for metric, scale in (("ttft", 1.0), ("per_token", 0.01)):
        scaled = [(value * scale, at_ms) for value, at_ms in samples]
        found = estimate(Evidence(*told.latencies["openai", "m", metric]), 2.0)
        assert found == pytest.approx(expected(scaled, 2.0, now_ms))
    calls = sum(2.0 ** -((now_ms - at_ms) / (6 * HOUR_MS)) for _, at_ms in samples)
    assert told.reliabilities["openai", "m"] == pytest.approx((calls, calls))
    for other in (memory.recall(db, bucket=1, effort="", now_ms=now_ms),):
        assert (other.latencies, other.all_latencies) == ({}, {}), "prompts of another size teach nothing here"
    assert memory.recall(db, bucket=2, effort="high", now_ms=now_ms).latencies == {}
    db.close()


def test_what_nobody_called_is_tried_a_little_sooner_than_the_typical() -> None:
    assert estimate(NOTHING, 2.0) == pytest.approx(2.0 / e**0.6)


@given(value=seconds, prior=seconds, count=st.integers(1, 50))
def test_the_more_is_known_the_nearer_the_estimate_is_to_it(value: float, prior: float, count: int) -> None:
    assume(abs(value - prior) > 0.001)
    known = LogMean(0.0, 0.0, 0)
    for _ in range(count):
        known = known.joined(value, 0)
    more = known.joined(value, 0)
    unbiased = [
        estimate(Evidence(*one.weighing(0)), prior) * e ** (0.6 / (one.weight + 1) ** 0.5) for one in (known, more)
    ]
    assert abs(unbiased[1] - value) < abs(unbiased[0] - value)


@given(values=st.lists(seconds, min_size=1, max_size=9))
def test_the_prior_is_the_lower_median_of_all_that_is_known(values: list[float]) -> None:
    prior = prior_of(values)
    assert prior in values
    assert sum(value <= prior for value in values) * 2 >= len(values)
    assert sum(value < prior for value in values) * 2 < len(values)


def test_nothing_known_is_no_prior() -> None:
    assert prior_of([]) is None


@pytest.mark.parametrize(
    ("tokens", "size"), [(0, 0), (1000, 0), (1001, 1), (4000, 1), (4001, 2), (16_000, 2), (16_001, 3), (10**7, 3)]
)
def test_prompts_are_told_apart_by_four_sizes(tokens: int, size: int) -> None:
    assert bucket(tokens) == size


def test_a_model_that_nobody_called_succeeds_95_times_in_100_and_evidence_moves_it() -> None:
    assert success_probability(0, 0) == 0.95
    assert success_probability(0, 10) == pytest.approx(9.5 / 20)
    assert success_probability(90, 90) == pytest.approx(99.5 / 100)
