"""The router ranks or excludes every candidate, by rules that a person can check by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import exp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute.routing.exclusions import exclude
from llmroute.routing.output_length import OutputLength
from llmroute.routing.plan import Balance, Candidate, ModelStats, RankedCandidate, RoutingConstraints
from llmroute.routing.router import keep_order, other_provider_second, plan
from llmroute.routing.strategies import SCORES, RoutingStrategy, balanced, expected_latency_s
from llmroute.text.option_text import Remedy
from llmroute.types import STRATEGIES
from llmroute.worst_case import WorstCase
from tests.routing.models import candidate, candidates, constraint_sets, constraints, entry

fast = settings(max_examples=150, deadline=None)


def order(wanted: RoutingConstraints, *pool: Candidate) -> list[str]:
    return [each.model.id for each in plan(wanted, pool).entries]


def names(entries: tuple[RankedCandidate, ...] | list[RankedCandidate]) -> list[str]:
    return [each.model.name for each in entries]


def test_every_strategy_that_can_be_configured_has_a_score() -> None:
    assert set(SCORES) == set(STRATEGIES) == set(RoutingStrategy)


def test_balanced_is_the_published_sum_in_usd() -> None:
    stats = ModelStats(ttft_s=0.5, s_per_token=0.01, success=0.9)
    one = candidate(cost=2 * 10**9, quality=70, tokens=100, stats=stats)
    score = balanced(one, constraints())
    assert score.terms["call_usd"] == pytest.approx(0.002 / 0.9)
    assert score.terms["wrong_answer_usd"] == pytest.approx(0.20 * (1 - 1 / (1 + exp(-(70 - 63) / 14))))
    assert score.terms["time_usd"] == pytest.approx(0.00005 * (0.5 + 100 * 0.01))
    assert score.value == pytest.approx(sum(score.terms.values()))
    dear = balanced(one, constraints(balance=Balance(wrong_answer_usd=2.0, second_usd=0.01)))
    assert dear.terms["wrong_answer_usd"] == pytest.approx(10 * score.terms["wrong_answer_usd"])
    assert dear.terms["time_usd"] == pytest.approx(0.01 * 1.5)


def test_the_time_of_an_answer_is_that_of_its_first_token_and_of_each_further_one() -> None:
    assert expected_latency_s(candidate(typical_s=9.5)) == 9.5
    assert expected_latency_s(candidate(stats=ModelStats(ttft_s=2.0))) == 2.0
    assert expected_latency_s(candidate(tokens=300, stats=ModelStats(ttft_s=2.0, s_per_token=0.01))) == 5.0


@pytest.mark.parametrize("strategy", ["balanced", "cost_optimized", "quality_optimized"])
@pytest.mark.parametrize("worth_usd", [0.2, 1000.0])
def test_an_unknown_price_stays_unknown_and_never_wins_over_a_known_one(strategy: str, worth_usd: float) -> None:
    unknown = candidate("a/unknown", cost=None, quality=91, stats=ModelStats(ttft_s=0.1))
    dear = candidate("z/dear", cost=900 * 10**12, quality=91, stats=ModelStats(ttft_s=90.0))
    made = plan(constraints(strategy, balance=Balance(wrong_answer_usd=worth_usd)), [unknown, dear])
    assert names(made.entries) == ["z/dear", "a/unknown"]
    assert made.entries[1].score is None
    assert not {"call_usd", "cost_usd", "default_provider_usd"} & made.entries[1].terms.keys()


def test_balanced_prefers_the_better_of_two_unknown_prices() -> None:
    worse, better = candidate("a/worse", cost=None, quality=60), candidate("b/better", cost=None, quality=90)
    assert order(constraints(), worse, better) == ["better", "worse"]


def test_balanced_pays_for_quality_within_reason() -> None:
    cheap, good = candidate("a/cheap", cost=10**8, quality=60), candidate("b/good", cost=10**9, quality=90)
    dear = candidate("c/dear", cost=10**12, quality=92)
    assert order(constraints(), cheap, good, dear) == ["good", "cheap", "dear"]
    # A fifth of a cent is all that a wrong answer costs here.
    assert order(constraints(balance=Balance(wrong_answer_usd=0.002)), cheap, good, dear)[0] == "cheap"


@pytest.mark.parametrize("strategy", ["balanced", "cost_optimized", "latency_optimized"])
def test_the_default_provider_is_preferred_by_a_tenth(strategy: str) -> None:
    def one(name: str, factor: float) -> Candidate:
        stats = ModelStats(ttft_s=10 * factor, success=1.0)
        # Quality of 100 leaves a wrong answer next to no weight.
        return candidate(name, cost=round(10**10 * factor), quality=100, stats=stats)

    free = Balance(wrong_answer_usd=0.0)
    other = one("anthropic/other", 1.0)
    wanted = constraints(strategy, default_provider="openai", balance=free)
    assert order(wanted, other, one("openai/mine", 1.03)) == ["mine", "other"]
    assert order(wanted, other, one("openai/mine", 1.15)) == ["other", "mine"]
    assert order(wanted._replace(default_preference=1.0), other, one("openai/mine", 1.03)) == ["other", "mine"]
    [first, _] = plan(wanted, [other, one("openai/mine", 1.03)]).entries
    [preference] = [value for name, value in first.terms.items() if name.startswith("default_provider")]
    assert first.score is not None
    assert preference == pytest.approx(-first.score / 9)


def test_differences_that_are_noise_leave_the_choice_to_the_price() -> None:
    slow = candidate("a/slow", cost=10**9, stats=ModelStats(ttft_s=1.0))
    cheap = candidate("z/cheap", cost=10**8, stats=ModelStats(ttft_s=1.01))
    assert order(constraints("latency_optimized"), slow, cheap) == ["cheap", "slow"]


def test_cost_optimized_takes_the_cheapest_that_works() -> None:
    pool = (
        candidate("a/free", cost=0),
        candidate("b/cheap", cost=1),
        candidate("c/dear", cost=10**9),
        candidate("d/unknown", cost=None),
        candidate("e/shaky", cost=0, stats=ModelStats(success=0.79)),
    )
    assert order(constraints("cost_optimized"), *pool) == ["free", "cheap", "dear", "unknown", "shaky"]


def test_latency_optimized_takes_the_fastest_whole_answer() -> None:
    pool = (
        candidate("a/late_start", stats=ModelStats(ttft_s=4.0, s_per_token=0.001)),
        candidate("b/slow_writer", stats=ModelStats(ttft_s=0.1, s_per_token=0.05)),
        candidate("c/unmeasured", typical_s=5.0),
    )
    assert order(constraints("latency_optimized"), *pool) == ["late_start", "unmeasured", "slow_writer"]
    short = [one._replace(output=OutputLength(10, 3)) for one in pool]
    assert order(constraints("latency_optimized"), *short)[0] == "slow_writer"


def test_quality_optimized_takes_the_best_and_among_equals_the_better_deal() -> None:
    pool = (
        candidate("a/best", quality=91, cost=10**10),
        candidate("b/equal", quality=90, cost=10**8),
        candidate("c/worse", quality=87, cost=0),
    )
    assert order(constraints("quality_optimized"), *pool) == ["equal", "best", "worse"]


def test_local_first_takes_what_runs_here_and_then_the_better_deal() -> None:
    pool = (candidate("a/cloud", quality=95), candidate("ollama/poor", quality=20, local=True, cost=0))
    assert order(constraints("local_first"), *pool) == ["poor", "cloud"]
    assert order(constraints(), *pool) == ["cloud", "poor"]


def test_prefer_local_puts_what_runs_here_before_all_else_under_every_strategy() -> None:
    pool = (
        candidate("a/cloud", quality=95, cost=0, stats=ModelStats(ttft_s=0.01)),
        candidate("ollama/poor", quality=20, local=True, typical_s=9.5, capabilities=frozenset({"code"})),
    )
    for strategy in STRATEGIES:
        assert order(constraints(strategy, prefer_local=True), *pool) == ["poor", "cloud"]


def test_capability_match_takes_the_fewest_surplus_capabilities() -> None:
    pool = (
        candidate("a/able", capabilities=frozenset({"code", "json", "vision"})),
        candidate("b/just", capabilities=frozenset({"code"}), quality=20),
        candidate("c/unable", capabilities=frozenset({"json"})),
    )
    assert order(constraints("capability_match", capabilities=frozenset({"code"})), *pool) == ["just", "able"]


def test_ties_go_to_the_default_provider_and_then_by_name() -> None:
    pool = (candidate("openai/z"), candidate("mistral/b"), candidate("anthropic/a"))
    assert order(constraints(), *pool) == ["a", "b", "z"]
    assert order(constraints(default_provider="openai"), *pool) == ["z", "a", "b"]


def test_the_second_entry_is_another_provider_where_there_is_one() -> None:
    pool = (
        candidate("openai/1", quality=99),
        candidate("openai/2", quality=95),
        candidate("openai/3", quality=90),
        candidate("mistral/4", quality=50),
    )
    assert order(constraints("quality_optimized"), *pool) == ["1", "4", "2", "3"]
    assert order(constraints("quality_optimized"), *pool[:3]) == ["1", "2", "3"]
    assert other_provider_second([]) == []


def test_the_engine_of_last_resort_is_used_only_when_nothing_else_can_be() -> None:
    engine = candidate("builtin/small", last_resort=True, local=True, cost=0)
    other = candidate("openai/m")
    made = plan(constraints(), [engine, other])
    assert names(made.entries) == ["openai/m"]
    assert [(each.model.name, "last resort" in each.reason) for each in made.excluded] == [("builtin/small", True)]
    made = plan(constraints(), [engine, other._replace(unusable="no key")])
    assert names(made.entries) == ["builtin/small"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_under_local_only_the_engine_of_last_resort_is_a_candidate_and_the_last_one(strategy: str) -> None:
    engine = candidate("builtin/small", last_resort=True, local=True, cost=0, typical_s=0.1)
    server = candidate("ollama/big", local=True, cost=0, quality=50, typical_s=9.5)
    assert order(constraints(strategy, local_only=True), engine, server, candidate("openai/m")) == ["big", "small"]


EXCLUDING = [
    (candidate(unusable="openai: no API key"), constraints(), "openai: no API key"),
    (candidate(), constraints(local_only=True), "does not run on this machine"),
    (candidate(), constraints(capabilities=frozenset({"json", "code"})), "lacks code, json"),
    (candidate(), constraints(unsupported={"openai/m": "temperature"}), "does not accept temperature"),
    (
        candidate(window=599),
        constraints(),
        "the prompt is about 100 tokens, and leaves no room for a completion of 500 in its context window of 599",
    ),
    (
        candidate(window=599),
        constraints(max_tokens=500),
        "the prompt is about 100 tokens, and leaves no room for a completion of 500 in its context window of 599",
    ),
    (
        candidate(window=100),
        constraints(),
        "the prompt is about 100 tokens, too long for its context window of 100 tokens",
    ),
    (candidate(cost=None), constraints(budget_picousd=10**12), "price unknown, and the request has a budget"),
    (
        candidate(stats=ModelStats(open_until_ms=3001, open_because="429")),
        constraints(now_ms=1000),
        "circuit open for 3 s: 429",
    ),
]


@pytest.mark.parametrize(("out", "wanted", "reason"), EXCLUDING)
def test_what_cannot_serve_is_excluded_with_its_reason_and_no_option_would_admit_it(
    out: Candidate, wanted: RoutingConstraints, reason: str
) -> None:
    told = exclude(out, wanted)
    assert told is not None
    assert (told.reason, told.admitted_by) == (reason, ())


def test_what_just_fits_is_admitted() -> None:
    assert exclude(candidate(window=600), constraints()) is None
    assert exclude(candidate(window=None), constraints(max_tokens=10**8)) is None
    assert exclude(candidate(quality=60), constraints(min_quality=60)) is None
    assert exclude(candidate(typical_s=1.5), constraints(max_latency_ms=1500)) is None
    assert exclude(candidate(cost=5), constraints(budget_picousd=5)) is None
    assert exclude(candidate(cost=0), constraints(budget_picousd=0)) is None
    assert exclude(candidate(stats=ModelStats(open_until_ms=1000)), constraints(now_ms=1000)) is None


@pytest.mark.parametrize(
    ("out", "wanted", "reason", "admitted_by"),
    [
        (candidate(quality=55), constraints(min_quality=80), "quality 55 is below 80", (("min_quality", 55),)),
        (
            candidate(typical_s=2.34),
            constraints(max_latency_ms=900),
            "expected latency 2340 ms is above 900 ms",
            (("max_latency_ms", 2400),),
        ),
        (
            candidate(cost=1_000_001),
            constraints(budget_picousd=9),
            "could cost up to $0.000002",
            (("budget_remaining", 2e-6),),
        ),
        (
            candidate(quality=55, typical_s=2.34),
            constraints(min_quality=80, max_latency_ms=900),
            "quality 55 is below 80 and expected latency 2340 ms is above 900 ms",
            (("min_quality", 55), ("max_latency_ms", 2400)),
        ),
    ],
)
def test_a_near_miss_tells_what_would_admit_it(
    out: Candidate, wanted: RoutingConstraints, reason: str, admitted_by: tuple[tuple[str, float], ...]
) -> None:
    told = exclude(out, wanted)
    assert told is not None
    assert reason in told.reason
    assert told.admitted_by == tuple(Remedy(*remedy) for remedy in admitted_by)


@fast
@given(pool=candidates(), wanted=constraint_sets(STRATEGIES))
def test_the_values_that_are_told_do_admit(pool: list[Candidate], wanted: RoutingConstraints) -> None:
    for each in pool:
        told = exclude(each, wanted)
        if told is None or not told.admitted_by:
            continue
        # As it is told: a budget in USD to the millionth.
        values: dict[str, Any] = {remedy.option: float(remedy.figure) for remedy in told.admitted_by}
        if "budget_remaining" in values:
            values["budget_picousd"] = round(values.pop("budget_remaining") * 10**12)
        relaxed = wanted._replace(**values)
        assert exclude(each, relaxed) is None
        assert told.distance >= 0


def test_the_nearer_miss_is_nearer_whatever_it_misses() -> None:
    wanted = constraints(min_quality=80, max_latency_ms=1000)
    nearly, hardly = exclude(candidate(quality=79), wanted), exclude(candidate(typical_s=9.0), wanted)
    assert nearly is not None
    assert hardly is not None
    assert nearly.distance < hardly.distance


@fast
@given(pool=candidates(), wanted=constraint_sets(STRATEGIES))
def test_every_candidate_is_ranked_or_excluded_with_a_reason(pool: list[Candidate], wanted: RoutingConstraints) -> None:
    made = plan(wanted, pool)
    told = [*names(made.entries), *(each.model.name for each in made.excluded)]
    assert sorted(told) == sorted(each.model.name for each in pool)
    assert all(each.reason for each in made.excluded)


@fast
@given(pool=candidates(), wanted=constraint_sets(STRATEGIES), random=st.randoms(use_true_random=False))
def test_the_plan_depends_on_nothing_but_its_input(
    pool: list[Candidate], wanted: RoutingConstraints, random: object
) -> None:
    made = plan(wanted, pool)
    assert plan(wanted, pool) == made
    shuffled = list(pool)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(wanted, shuffled).entries == made.entries


def unpromoted(wanted: RoutingConstraints, pool: list[Candidate]) -> list[str]:
    """Return the order before another provider's best is moved to the second place: each alone, by its own key."""
    first: list[str] = []
    left = list(pool)
    while left:
        best = plan(wanted, left).entries[0].model.name
        first.append(best)
        left = [each for each in left if each.model.name != best]
    return first


@fast
@given(pool=candidates(usable=True), strategy=st.sampled_from(STRATEGIES))
def test_dropping_a_candidate_never_reorders_the_rest(pool: list[Candidate], strategy: str) -> None:
    wanted = constraints(strategy)
    whole = unpromoted(wanted, pool)
    for dropped in pool:
        rest = [each for each in pool if each is not dropped]
        assert unpromoted(wanted, rest) == [name for name in whole if name != dropped.model.name]
    expected = list(whole)
    for index, name in enumerate(whole):
        if name.partition("/")[0] != whole[0].partition("/")[0]:
            expected.insert(1, expected.pop(index))
            break
    assert names(plan(wanted, pool).entries) == expected


@fast
@given(pool=candidates(usable=True), extra=st.integers(1, 10**12))
def test_a_dearer_copy_never_wins_when_cost_counts(pool: list[Candidate], extra: int) -> None:
    best = plan(constraints("cost_optimized"), pool).entries[0].candidate
    if best.expected_cost_picousd is None:
        return
    copy = best._replace(
        model=replace(best.model, id="0-copy"),
        expected_cost_picousd=best.expected_cost_picousd + extra,
    )
    assert plan(constraints("cost_optimized"), [copy, *pool]).entries[0].model.name == best.model.name


@fast
@given(pool=candidates(usable=True))
def test_when_cost_counts_free_beats_paid_and_paid_beats_unknown(pool: list[Candidate]) -> None:
    made = unpromoted(constraints("cost_optimized"), pool)
    reliable = {each.model.name: each.expected_cost_picousd for each in pool if each.stats.success >= 0.8}
    costs = [reliable[name] for name in made if name in reliable]
    known = [cost for cost in costs if cost is not None]
    assert costs[: len(known)] == sorted(known)


@fast
@given(pool=candidates(usable=True), strategy=st.sampled_from(STRATEGIES))
def test_scores_are_sound_numbers(pool: list[Candidate], strategy: str) -> None:
    for each in plan(constraints(strategy), pool).entries:
        assert each.score is None or abs(each.score) < 1e6
        assert each.expected_latency_ms >= 0


def test_keep_order_keeps_the_order_and_still_excludes() -> None:
    pool = [candidate("b/2"), candidate("a/1", unusable="no key"), candidate("b/3", quality=99)]
    made = keep_order(constraints(), pool)
    assert names(made.entries) == ["b/2", "b/3"]
    assert [each.reason for each in made.excluded] == ["no key"]
    assert made.strategy == "balanced"


@settings(deadline=None)
@given(order_=st.permutations(["openai/1", "openai/2", "mistral/3", "ollama/4"]))
def test_moving_another_provider_up_keeps_the_rest_in_order(order_: list[str]) -> None:
    moved = names(other_provider_second([entry(name) for name in order_]))
    assert moved[0] == order_[0]
    assert moved[1].partition("/")[0] != moved[0].partition("/")[0]
    rest = [name for name in moved if name != moved[1]]
    assert all(order_.index(a) < order_.index(b) for a, b in itertools.pairwise(rest))


def test_models_that_are_expected_to_cost_more_than_the_budget_come_last() -> None:
    good = candidate("a/good", cost=11, quality=90)._replace(worst=WorstCase(2, 1, 9, 1))
    poor = candidate("b/poor", cost=10, quality=60)._replace(worst=WorstCase(2, 1, 9, 1))
    for strategy in ("balanced", "quality_optimized"):
        assert order(constraints(strategy=strategy, budget_picousd=10), good, poor) == ["poor", "good"]
        assert order(constraints(strategy=strategy, budget_picousd=11), good, poor) == ["good", "poor"]
        assert order(constraints(strategy=strategy), good, poor) == ["good", "poor"]
