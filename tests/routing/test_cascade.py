"""Cascades: from cheap to strong, never dearer than expected, and the same for the same ledger."""

from __future__ import annotations

import itertools
from math import inf, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.routing.cascade import LEAST_CHANCE, MOST_LINKS, cascade, with_reach
from llmroute.routing.check_results import CheckResults, chance_to_pass, difficulty, rarely_passes
from llmroute.routing.plan import Candidate, ModelStats, RankedCandidate
from llmroute.routing.router import plan
from llmroute.routing.strategies import chance_right
from tests.routing.models import candidate, constraints

CHECKED = constraints("balanced", checked=True)

models = st.builds(
    lambda number, cost, quality, passed, failed: candidate(
        f"openai/m{number}",
        cost=cost,
        quality=quality,
        stats=ModelStats(check_results=CheckResults(passed, passed + failed)),
    ),
    number=st.integers(0, 999),
    cost=st.none() | st.integers(0, 10**12),
    quality=st.integers(0, 100),
    passed=st.floats(0, 100),
    failed=st.floats(0, 100),
)
pools = st.lists(models, min_size=1, max_size=8, unique_by=lambda one: one.model.name)


def _ranked(pool: list[Candidate]) -> tuple[RankedCandidate, ...]:
    return plan(CHECKED, pool).entries


def _expected_usd(links: list[RankedCandidate]) -> float:
    """The sum of the documentation, written down again from its words."""
    fails = [1 - chance_right(link.candidate, checked=True) for link in links]

    def all_fail(some: list[float]) -> float:
        return 0.7 * min(some) + 0.3 * prod(some) if some else 1.0

    calls = sum(
        (link.terms.get("call_usd", inf) + link.terms["time_usd"]) * all_fail(fails[:at])
        for at, link in enumerate(links)
    )
    return calls + CHECKED.balance.wrong_answer_usd * all_fail(fails)


def _links(ordered: list[RankedCandidate]) -> list[RankedCandidate]:
    """The beginning of a cascade with the least expected sum."""
    return min((ordered[:count] for count in range(1, min(len(ordered), MOST_LINKS) + 1)), key=_expected_usd)


def test_local_models_come_first_in_a_cascade_if_they_are_preferred() -> None:
    pool = [
        candidate("openai/strong", quality=95, cost=10**9),
        candidate("mistral/cheap", quality=80, cost=10**6),
        candidate("ollama/poor", quality=20, local=True, cost=0),
    ]
    preferring = constraints("balanced", checked=True, prefer_local=True)
    ranked = plan(preferring, pool).entries
    assert cascade(ranked, preferring)[0].model.provider == "ollama"


@given(pools)
def test_a_cascade_keeps_every_candidate_and_does_not_depend_on_the_order_of_the_pool(
    pool: list[Candidate],
) -> None:
    ordered = cascade(_ranked(pool), CHECKED)
    assert sorted(entry.model.name for entry in ordered) == sorted(one.model.name for one in pool)
    assert cascade(_ranked(pool[::-1]), CHECKED) == ordered


@given(pools)
def test_a_cascade_is_expected_to_be_no_dearer_than_the_balanced_choice_alone(pool: list[Candidate]) -> None:
    entries = _ranked(pool)
    able = [one for one in entries if chance_right(one.candidate, checked=True) >= LEAST_CHANCE]
    able = [one for one in able if one.candidate.expected_cost_picousd is not None]
    if not able:
        assert cascade(entries, CHECKED) == list(entries)
        return
    ordered = cascade(entries, CHECKED)
    assert able[0] in ordered[:MOST_LINKS]
    assert _expected_usd(_links(ordered)) <= _expected_usd(able[:1]) + 1e-12


def test_a_cheap_and_able_model_is_asked_before_the_strong_one_and_a_weak_one_is_left_out() -> None:
    cheap = candidate("openai/cheap", cost=10**9, quality=80)
    strong = candidate("openai/strong", cost=5 * 10**10, quality=99)
    weak = candidate("openai/weak", cost=10**7, quality=40)
    ordered = [entry.model.id for entry in cascade(_ranked([strong, weak, cheap]), CHECKED)]
    assert ordered.index("cheap") < ordered.index("strong") < ordered.index("weak")


@given(pools)
def test_each_link_is_reached_no_more_often_than_the_one_before(pool: list[Candidate]) -> None:
    reached = [entry.terms["reached"] for entry in with_reach(_ranked(pool))]
    assert reached[0] == 1
    assert all(0 <= after <= before for before, after in itertools.pairwise(reached))


@given(prior=st.floats(0.01, 0.99), passed=st.floats(0, 50), failed=st.floats(0, 50))
def test_a_verdict_moves_the_chance_towards_itself(prior: float, passed: float, failed: float) -> None:
    before = chance_to_pass(prior, CheckResults(passed, passed + failed))
    assert chance_to_pass(prior, CheckResults(passed + 1, passed + failed + 1)) >= before
    assert chance_to_pass(prior, CheckResults(passed, passed + failed + 1)) <= before
    assert 0 < before < 1


def test_without_verdicts_the_chance_is_that_of_the_quality() -> None:
    assert chance_to_pass(0.8, CheckResults()) == pytest.approx(0.8)
    assert difficulty([]) == 0


def test_a_hard_task_lowers_the_chance_of_models_that_were_not_tried_on_it() -> None:
    hard = difficulty([(0.8, CheckResults(2, 40))])
    assert hard < 0
    assert chance_to_pass(0.8, CheckResults(difficulty=hard)) < 0.5


def test_a_model_rarely_passes_after_four_rejections_and_no_acceptance() -> None:
    assert not rarely_passes(CheckResults(0, 3))
    assert rarely_passes(CheckResults(0, 4))
    assert not rarely_passes(CheckResults(2, 8))
