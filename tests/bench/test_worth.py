"""The simulated worlds have the shape that they claim, and the router's figures follow from what it has learned."""

from __future__ import annotations

import random
from statistics import NormalDist, mean, median

import pytest

from tests.bench.worth import (
    balanced_after_half,
    balanced_from_nothing,
    is_possible,
    most_near,
    share_near,
    share_near_by_task,
    spend_over_best,
)
from tests.bench.worth_worlds import (
    LONGEST,
    LONGEST_ANSWER,
    SHORTEST,
    SimulatedModel,
    answer_table,
    independent_world,
    measured_world,
)


def test_a_table_has_the_mean_length_and_its_tasks_differ_by_a_factor_of_about_four() -> None:
    chance = random.Random(1)
    tables = [answer_table(chance, tokens) for tokens in (SHORTEST, 2_000, 6_000, LONGEST) for _ in range(15)]
    assert mean(mean(map(mean, table)) for table in tables[:15]) == pytest.approx(SHORTEST, rel=0.02)
    assert mean(mean(map(mean, table)) for table in tables[-15:]) == pytest.approx(LONGEST, rel=0.02)
    of_tasks = [[mean(task) for task in table] for table in tables]
    assert 3 < median(max(means) / min(means) for means in of_tasks) < 5
    assert max(tokens for table in tables for task in table for tokens in task) == LONGEST_ANSWER


def test_the_measured_worlds_cost_and_answer_as_the_measured_table() -> None:
    worlds = [measured_world(seed) for seed in range(5)]
    for models in worlds:
        best, cheapest = max(models, key=lambda one: one.right), min(models, key=lambda one: one.cost_usd)
        assert (best.right, cheapest.right) == (0.887, 0.229)
        assert (1_000 * best.cost_usd, 1_000 * cheapest.cost_usd) == pytest.approx((42.5, 0.02), rel=0.02)
        assert is_possible(models)
    assert mean(one.right for models in worlds for one in models) == pytest.approx(0.64, abs=0.03)
    assert mean(1_000 * one.cost_usd for models in worlds for one in models) == pytest.approx(14.8, abs=3)


def test_expected_costs_come_nearer_to_the_truth_with_each_answer() -> None:
    after = [mean(share_near(measured_world(seed), seed, answers) for seed in range(2)) for answers in (2, 20, 120)]
    assert after == sorted(after)
    assert after[-1] > 0.95
    assert mean(share_near_by_task(measured_world(seed), seed, 20) for seed in range(2)) > 0.75


def test_no_estimate_of_a_log_normal_mean_is_near_more_often_than_the_bound() -> None:
    chance, answers, spread = random.Random(1), 20, 1.3
    # The best estimate of the logarithm of the mean, with the spread known: its error is that of the mean logarithm.
    errors = [mean(chance.gauss(0, spread) for _ in range(answers)) for _ in range(2_000)]
    middle = NormalDist().from_samples(errors)
    assert middle.stdev == pytest.approx(spread / answers**0.5, rel=0.1)
    half_width = 0.2554  # ln(1.25 / 0.75) / 2
    assert mean(abs(error) <= half_width for error in errors) == pytest.approx(most_near(answers, spread), abs=0.03)
    assert most_near(answers, spread) == pytest.approx(0.62, abs=0.005)


def test_cost_optimized_spends_little_more_than_the_cheapest_model_would() -> None:
    assert spend_over_best(independent_world(0), 0) < 1.3


def balanced_of_two(right: float, quality: int) -> tuple[float, float]:
    chance = random.Random(1)
    cheap = SimulatedModel("openai/cheap", 0.1, answer_table(chance, 2_000), quality, right)
    dear = SimulatedModel("openai/dear", 5.0, answer_table(chance, 9_000), 92, 0.887)
    return balanced_after_half([cheap, dear], 1)


def test_balanced_takes_the_cheap_model_only_if_its_answers_are_nearly_as_often_right() -> None:
    behind, share = balanced_of_two(0.85, 87)
    assert behind == pytest.approx(3.7)
    assert share < 0.05
    assert balanced_of_two(0.3, 51) == (0, 1)


def test_balanced_costs_a_part_of_the_best_model_also_where_it_begins_with_an_empty_ledger() -> None:
    behind, share = balanced_from_nothing(measured_world(0), 0)
    assert behind < 20
    assert share < 0.5
