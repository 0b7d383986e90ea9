"""Expected output tokens: a low prior that a few answers correct, means that money can be counted by."""

from __future__ import annotations

import random
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.routing.output_length import Answers, OutputLength, output_length, prior_tokens

NONE = Answers()


def answers(*tokens: int) -> Answers:
    return Answers(len(tokens), sum(tokens))


@pytest.mark.parametrize(
    ("effort", "tokens"), [("none", 600), ("minimal", 600), ("low", 600), ("medium", 3000), ("high", 3000)]
)
def test_a_model_that_was_never_called_is_expected_at_a_third_of_its_class(effort: str, tokens: int) -> None:
    assert prior_tokens(effort) == tokens
    assert output_length(effort, NONE, NONE, None) == OutputLength(tokens, 0)


def test_the_expectation_is_the_mean_shrunk_in_the_logarithm_to_the_prior() -> None:
    eight = answers(*[250] * 8)
    found = output_length("medium", eight, NONE, None)
    assert found == OutputLength(round(exp((8 * log(250) + 0.5 * log(3000)) / 8.5)), 8)
    assert found.tokens < 300


def test_one_long_answer_does_not_decide() -> None:
    before = output_length("medium", answers(*[1800] * 8), NONE, None).tokens
    after = output_length("medium", answers(*[1800] * 8, 20_000), NONE, None).tokens
    assert before < after < 0.75 * 20_000
    assert output_length("medium", answers(20_000), NONE, None).tokens < 0.75 * 20_000


def test_answers_to_the_task_outweigh_those_to_all() -> None:
    of_all = answers(*[600] * 50, *[20_000] * 10)
    of_task = answers(*[20_000] * 10)
    found = output_length("medium", of_all, of_task, None)
    assert found.answers == 10
    assert found.tokens == pytest.approx(20_000, rel=0.2)


@given(
    effort=st.sampled_from(["none", "low", "high"]),
    tokens=st.lists(st.integers(0, 10**6), max_size=20),
    longest=st.none() | st.integers(1, 10**6),
)
def test_no_more_is_expected_than_the_answer_can_be_and_never_nothing(
    effort: str, tokens: list[int], longest: int | None
) -> None:
    found = output_length(effort, answers(*tokens), NONE, longest)
    assert 1 <= found.tokens <= (10**6 if longest is None else longest)
    assert found.answers == len(tokens)


def test_a_faded_answer_is_still_an_answer() -> None:
    assert output_length("none", Answers(0.2, 100.0), NONE, None).answers == 1


def test_after_twenty_answers_three_models_in_four_are_within_a_quarter_of_their_mean() -> None:
    chance = random.Random(7)
    near = 0
    for _ in range(400):
        mean, sigma = exp(chance.uniform(log(330), log(19_000))), 0.8
        drawn = [round(chance.lognormvariate(log(mean) - sigma**2 / 2, sigma)) for _ in range(20)]
        near += abs(output_length("medium", answers(*drawn), NONE, None).tokens / mean - 1) <= 0.25
    assert near >= 300


def test_the_prior_takes_over_as_answers_fade() -> None:
    fading = [output_length("none", Answers(10 * rest, 90_000 * rest), NONE, None).tokens for rest in (1, 0.1, 0.001)]
    assert fading == sorted(fading, reverse=True)
    assert fading[0] > 7_500
    assert fading[-1] == pytest.approx(600, rel=0.1)
