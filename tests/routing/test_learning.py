"""What is learned of latency: the published formulas by numbers worked out by hand, and what they are for."""

from __future__ import annotations

import random
import sqlite3
from math import e, exp, log, sqrt
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.ledger.sqlite import observations
from llmroute.ledger.sqlite.schema.migrations import migrate
from llmroute.ledger.statistics import latency
from llmroute.ledger.statistics.latency import Latency
from llmroute.ledger.statistics.values import Observation
from llmroute.routing import latency_estimate
from llmroute.routing.latency_estimate import (
    Evidence,
    bucket,
    estimate,
    never_called,
    provider_factor,
    success_probability,
)
from tests.ledger.calls import learn

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
seconds = st.floats(0.01, 300)
observed = st.lists(st.tuples(seconds, st.integers(0, 30 * HOUR_MS)), min_size=1, max_size=8)


def taught(*samples: float, every_ms: int = 30 * MINUTE_MS, known: Latency | None = None) -> Latency:
    """Return what is known after answers of so many seconds, one every half hour."""
    for value in samples:
        at_ms = 0 if known is None else known.at_ms + every_ms
        known = latency.first(value, at_ms) if known is None else known.joined(value, at_ms)
    assert known is not None
    return known


def expected(known: Latency, *, after_h: float = 0.0, prior: float = 1.0, calls_per_h: float = 2.0) -> float:
    """Return what the next call is expected to take."""
    return estimate(Evidence(*known.evidence(known.at_ms + round(after_h * HOUR_MS), 1)), prior, calls_per_h)


def test_what_is_known_follows_the_published_formula() -> None:
    known = latency.first(1.0, 0).joined(e, HOUR_MS)
    # r = 1, q = 0.02 / 1.1 (1 - e^-0.5), n = 2^(-1/24), w = 0.2 (1 + 1 / (n + 0.2)); the explanations weigh
    q, n, w = 0.00715398, 0.971532, 0.370712
    usual = (1 - q) * exp(-1 / 2 / w) / sqrt(w)
    trouble = q * exp(-(0.6**2) / 2 / (w + 0.6)) / sqrt(w + 0.6)
    changed = 0.08 * exp(-1 / 2 / (w + 0.16)) / sqrt(w + 0.16)
    total = usual + trouble + changed
    p, g = trouble / total, changed / total
    assert known.trouble == pytest.approx(p, rel=1e-4)
    n = (1 - g) * n + 1 - p
    assert known.weight == pytest.approx(n, rel=1e-4)
    assert known.level == pytest.approx((1 - p) / n, rel=1e-4)
    assert known.spread == pytest.approx(0.2 + (1 - p - g) * 0.8 / (n + 25), rel=1e-4)
    assert (known.slower, known.since_ms) == (1.6, HOUR_MS)


def test_trouble_is_measured_while_it_lasts_and_passes_the_sooner_the_longer_it_has_lasted() -> None:
    troubled = Latency(10.0, 0.0, 3 * HOUR_MS, spread=0.2, trouble=0.9, slower=2.0, since_ms=2 * HOUR_MS)
    *_, trouble, slower, unseen_h = troubled.evidence(5 * HOUR_MS, 1)
    # q = 0.9 e^(-2 (2 + 2) / 4), and 0.02 10 / 10.1 (1 - e^-1) of the rest
    assert trouble == pytest.approx(0.121802 + 0.878198 * 0.019802 * 0.632121, rel=1e-4)
    assert (slower, unseen_h) == (2.0, 2.0)
    again = troubled.joined(exp(2.8), 4 * HOUR_MS)
    # It is in trouble still: d is 2 + (2.8 - 2) 0.6 / (0.6 + v), and when it began stays.
    assert again.slower == pytest.approx(2 + 0.8 * 0.6 / (0.6 + again.spread))
    assert again.since_ms == 2 * HOUR_MS
    over = troubled.joined(1.0, 5 * HOUR_MS)
    assert (over.slower, over.since_ms) == (1.6, 5 * HOUR_MS)


def test_what_is_expected_follows_the_published_formula() -> None:
    evidence = Evidence(weight=2.5, level=log(3.0), spread=0.5, trouble=0.3, slower=1.6, unseen_h=5.0)
    level = (2.5 * (log(3.0) + 0.25) + 0.05 * log(2.0)) / 2.55
    worth = log(1 + 6 * 25 * (0.0007 + 0.0015 * 0.3))
    hoped = exp(level - sqrt(0.5 / 2.55) - worth) * (0.7 + 0.3 * exp(1.6))
    assert estimate(evidence, 2.0, 6.0) == pytest.approx(hoped)
    # Long ago nothing but the prior is left, q is 0.02 4 / 4.1, and another look is worth a factor of eight at most.
    forgotten = 2.0 * exp(-sqrt(0.5 / 0.05)) / 8 * (1 + 0.02 * 4 / 4.1 * (exp(1.6) - 1))
    assert expected(Latency(4.0, 4.0, 0, spread=0.5), after_h=10**4, prior=2.0) == pytest.approx(forgotten)


def test_what_nobody_called_is_tried_sooner_than_the_typical() -> None:
    assert estimate(Evidence(), 2.0, 10.0) == pytest.approx(2.0 / exp(2))
    assert latency.TYPICAL_SPREAD == latency_estimate.UNSEEN_SPREAD


@pytest.mark.parametrize("sigma", [0.1, 0.4, 0.7])
def test_what_is_well_known_is_expected_at_its_mean_whatever_it_scatters(sigma: float) -> None:
    luck = random.Random(7)
    samples = [luck.lognormvariate(0.5, sigma) for _ in range(400)]
    known = [taught(*samples[:count], every_ms=5 * MINUTE_MS) for count in range(200, 400)]
    found = [expected(one) * exp(sqrt(one.spread / (one.weight + 0.05))) for one in known]
    assert mean(found) == pytest.approx(exp(0.5 + sigma**2 / 2), rel=0.1)
    assert all(one.weight == 16 for one in known)


def test_one_bad_answer_in_half_an_hour_is_enough_to_leave_and_two_good_ones_are_to_come_back() -> None:
    before = taught(*[1.0, 1.3, 0.8, 1.1] * 5)
    bad = taught(6.0, known=before)
    assert expected(bad) > 3 * expected(before)
    assert expected(taught(1.0, known=bad)) < 2 * expected(before)
    assert expected(taught(1.0, 1.0, known=bad)) < 1.1 * expected(before)


def test_trouble_passes_and_what_was_known_before_it_holds_again() -> None:
    before = taught(*[1.0, 1.3, 0.8, 1.1] * 5)
    bad = taught(6.0, 7.0, 6.5, known=before)
    assert bad.level == pytest.approx(before.level, abs=0.15)
    left = [expected(bad, after_h=hours) for hours in (0, 2, 4, 8)]
    assert left == sorted(left, reverse=True)
    assert left[0] > 4
    assert left[-1] < 1.2


@pytest.mark.parametrize("every_ms", [MINUTE_MS // 2, 30 * MINUTE_MS, 150 * MINUTE_MS])
def test_what_is_slower_for_good_becomes_what_is_usual(every_ms: int) -> None:
    before = taught(*[1.0, 1.3, 0.8, 1.1] * 5)
    slower = taught(*[3.0] * (24 * HOUR_MS // every_ms), known=before, every_ms=every_ms)
    assert slower.trouble < 0.01
    assert expected(slower) == pytest.approx(3.0, rel=0.25)


def test_ordinary_scatter_is_no_trouble() -> None:
    known = taught(*[1.0, 1.6, 0.7, 1.2, 0.6, 1.9] * 5, every_ms=MINUTE_MS)
    assert known.trouble < 0.1


def test_who_answers_like_a_clock_is_not_left_for_a_third_more() -> None:
    known = taught(*[1.0] * 200)
    assert known.spread == 0.04
    assert taught(1.33, known=known).trouble < 0.05


def test_who_scatters_ever_wider_still_has_a_finite_mean() -> None:
    known = taught(1.0)
    for sign in (1, -1) * 200:
        known = taught(exp(known.level + sign * 2.9 * sqrt(known.spread)), every_ms=0, known=known)
    assert known.spread == 4
    assert expected(known) < 10**6


def test_who_has_become_faster_while_nobody_looked_is_believed_at_once() -> None:
    before = taught(*[3.0, 3.6, 2.6] * 4)
    assert expected(taught(0.6, every_ms=24 * HOUR_MS, known=before)) < 0.9


def test_a_failure_that_took_minutes_counts_in_a_crowd_too() -> None:
    before = taught(*[1.0, 1.3, 0.8, 1.1] * 5)
    assert expected(taught(60.0, every_ms=0, known=before)) > 20


def test_the_more_models_there_are_the_longer_each_is_left() -> None:
    known = taught(1.0, 1.2)
    day_ms = known.at_ms + 24 * HOUR_MS
    found = [estimate(Evidence(*known.evidence(day_ms, models)), 1.0, 5.0) for models in (1, 5, 10, 30)]
    assert found[0] == found[1] < found[2] < found[3]


@given(samples=observed, prior=seconds, later_ms=st.integers(0, 48 * HOUR_MS), calls_per_h=st.floats(0, 1e4))
def test_what_is_expected_lies_between_what_was_seen_and_what_is_hoped_for(
    samples: list[tuple[float, int]], prior: float, later_ms: int, calls_per_h: float
) -> None:
    samples.sort(key=lambda sample: sample[1])
    known = latency.first(*samples[0])
    for value, at_ms in samples[1:]:
        known = known.joined(value, at_ms)
    assert 0.04 <= known.spread <= 4
    assert 0 < known.weight <= 16
    assert 0 <= known.trouble <= 1
    values = [value for value, _ in samples]
    assert min(values) * (1 - 1e-9) <= exp(known.level) <= max(values) * (1 + 1e-9)
    assert 0.5 <= known.slower <= max(1.6, log(max(values) / min(values))) + 1e-9
    assert known.since_ms <= known.at_ms
    evidence = Evidence(*known.evidence(known.at_ms + later_ms, 1))
    found = estimate(evidence, prior, calls_per_h)
    hoped = exp(-sqrt(known.spread / 0.05)) / 8
    feared = max(*values, prior) * exp(known.spread / 2 + known.slower)
    assert min(*values, prior) * hoped * (1 - 1e-9) <= found <= feared * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(samples=observed, later_ms=st.integers(0, 48 * HOUR_MS))
def test_the_ledger_keeps_what_the_formula_says(samples: list[tuple[float, int]], later_ms: int) -> None:
    samples.sort(key=lambda sample: sample[1])
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    for value, at_ms in samples:
        learn(db, [Observation("openai", "m", "", 2, at_ms, "", succeeded=True, ttft_s=value, per_token_s=value / 100)])
    now_ms = samples[-1][1] + later_ms
    told = observations.recall(db, bucket=2, now_ms=now_ms)
    for metric, scale in (("ttft", 1.0), ("per_token", 0.01)):
        known = latency.first(samples[0][0] * scale, samples[0][1])
        for value, at_ms in samples[1:]:
            known = known.joined(value * scale, at_ms)
        assert told.latencies["openai", "m", "", metric] == pytest.approx(known.evidence(now_ms, 1))
    calls = sum(2.0 ** -((now_ms - at_ms) / (6 * HOUR_MS)) for _, at_ms in samples)
    assert told.reliabilities["openai", "m"] == pytest.approx((calls, calls))
    assert told.calls_per_h == pytest.approx(calls * log(2) / 6)
    other = observations.recall(db, bucket=1, now_ms=now_ms)
    assert other.latencies == {}, "prompts of another size teach nothing here"
    db.close()


@given(values=st.lists(seconds, min_size=1, max_size=9), prior=seconds)
def test_a_provider_is_as_much_faster_than_its_classes_as_its_models_that_were_called(
    values: list[float], prior: float
) -> None:
    observed = [(Evidence(weight=4.0, level=log(value), spread=0.0), prior) for value in values]
    factor = provider_factor(observed)
    shares = 0.8 * len(values)
    assert log(factor) == pytest.approx(0.8 * sum(log(value / prior) for value in values) / (shares + 1), abs=1e-9)
    assert min(1.0, *(value / prior for value in values)) * 0.999 <= factor
    assert factor <= max(1.0, *(value / prior for value in values)) * 1.001


def test_a_provider_of_which_no_model_was_called_is_as_fast_as_its_classes() -> None:
    assert provider_factor([]) == 1.0


def test_a_model_that_was_never_called_is_hoped_to_be_a_little_faster_than_its_class() -> None:
    assert never_called(2.0) == pytest.approx(2.0 / 1.35)


@pytest.mark.parametrize(
    ("tokens", "size"), [(0, 0), (1000, 0), (1001, 1), (4000, 1), (4001, 2), (16_000, 2), (16_001, 3), (10**7, 3)]
)
def test_prompts_are_told_apart_by_four_sizes(tokens: int, size: int) -> None:
    assert bucket(tokens) == size


def test_a_model_that_nobody_called_succeeds_95_times_in_100_and_evidence_moves_it() -> None:
    assert success_probability(0, 0) == 0.95
    assert success_probability(0, 10) == pytest.approx(9.5 / 20)
    assert success_probability(90, 90) == pytest.approx(99.5 / 100)
