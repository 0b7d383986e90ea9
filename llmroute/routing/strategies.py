"""The six scoring functions: lower is better, and no candidate's score depends on which others there are.  Pure."""

from __future__ import annotations

from enum import StrEnum
from math import exp, inf, log
from typing import TYPE_CHECKING, NamedTuple

from llmroute.routing.check_results import chance_to_pass, rarely_passes
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.routing.plan import Candidate, RoutingConstraints

LEAST_SUCCESS = 0.8
# Quality is measured to about two points: models in one band are equals.
QUALITY_BAND = 2
# From quality (0 to 100, of the Arena rating) to the chance of a right answer: a logistic curve, fitted on
# results of 13 models with 240 hard prompts (standard deviation of the residuals: 6 points).
EVEN_QUALITY = 63
QUALITY_SCALE = 14
# Differences below these are noise, and leave the decision to the price, the default provider and the name.
MONEY_STEP = log(1.01)
TIME_STEP = log(1.05)

Terms = dict[str, float]


class Score(NamedTuple):
    """The sort key of candidates, lower is better; `value` is the strategy's own measure, with its terms.

    A measure with an unknown price is None, its terms are those that are known, and it ranks after all known ones.
    """

    rank: tuple[float, ...]
    value: float | None
    terms: Terms


class RoutingStrategy(StrEnum):
    """How the model is chosen."""

    BALANCED = "balanced"
    COST_OPTIMIZED = "cost_optimized"
    LATENCY_OPTIMIZED = "latency_optimized"
    QUALITY_OPTIMIZED = "quality_optimized"
    LOCAL_FIRST = "local_first"
    CAPABILITY_MATCH = "capability_match"


def expected_latency_s(candidate: Candidate) -> float:
    """Return seconds to the whole answer: to its first token, then for each further one."""
    stats = candidate.stats
    if stats.ttft_s is None:
        return candidate.typical_s
    return stats.ttft_s + (stats.s_per_token or 0.0) * candidate.output.tokens


def chance_of_quality(quality: float) -> float:
    """Return the chance that an answer of a model of this quality (0 to 100) is right."""
    return 1 / (1 + exp(-(quality - EVEN_QUALITY) / QUALITY_SCALE))


def chance_right(candidate: Candidate, *, checked: bool) -> float:
    """Return the chance that an answer is right; where it is `checked`, earlier verdicts of checks count."""
    chance = chance_of_quality(candidate.quality)
    return chance_to_pass(chance, candidate.stats.check_results) if checked else chance


def balanced(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Score in USD: the call, divided by its chance of success; the chance of a wrong answer; and the time.

    J = c / s + V (1 - p) + W t, with V and W of `constraints.balance`.
    """
    balance, cost_usd = constraints.balance, _cost_usd(candidate)
    terms = {} if cost_usd is None else {"call_usd": cost_usd / candidate.stats.success}
    terms |= {
        "wrong_answer_usd": balance.wrong_answer_usd * (1 - chance_right(candidate, checked=constraints.checked)),
        "time_usd": balance.second_usd * expected_latency_s(candidate),
    }
    total = _preferred(sum(terms.values()), "default_provider_usd", terms, candidate, constraints)
    return Score((float(cost_usd is None), _steps(total, MONEY_STEP)), None if cost_usd is None else total, terms)


def cost_optimized(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Least expected cost; a model that fails more than one call in five, or never passes, comes after all others."""
    success, cost_usd = candidate.stats.success, _cost_usd(candidate)
    late = float(success < LEAST_SUCCESS or (constraints.checked and rarely_passes(candidate.stats.check_results)))
    if cost_usd is None:
        return Score((late, 1.0), None, {"success": success})
    terms = {"cost_usd": cost_usd, "success": success}
    total = _preferred(cost_usd, "default_provider_usd", terms, candidate, constraints)
    return Score((late, 0.0, _steps(total, MONEY_STEP)), total, terms)


def latency_optimized(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Least expected time to the whole answer."""
    terms = {"latency_s": expected_latency_s(candidate)}
    latency_s = _preferred(terms["latency_s"], "default_provider_s", terms, candidate, constraints)
    return Score((_steps(latency_s, TIME_STEP),), latency_s, terms)


def quality_optimized(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Greatest quality; equals by J."""
    return _before_j(-(candidate.quality // QUALITY_BAND), candidate, constraints)


def local_first(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Models on this machine before all others; equals by J."""
    return _before_j(not candidate.local, candidate, constraints)


def capability_match(candidate: Candidate, constraints: RoutingConstraints) -> Score:
    """Fewest capabilities beyond those requested; equals by J."""
    surplus = len(candidate.model.capabilities - constraints.capabilities)
    score = _before_j(surplus, candidate, constraints)
    score.terms["surplus"] = float(surplus)
    return score


def _before_j(first: float, candidate: Candidate, constraints: RoutingConstraints) -> Score:
    j = balanced(candidate, constraints)
    return j._replace(rank=(float(first), *j.rank))


def _cost_usd(candidate: Candidate) -> float | None:
    cost = candidate.expected_cost_picousd
    return None if cost is None else cost / PICO_PER_USD


def _preferred(total: float, name: str, terms: Terms, candidate: Candidate, constraints: RoutingConstraints) -> float:
    """Return a score with the preference for the default provider, which becomes a term of it."""
    if candidate.model.provider != constraints.default_provider:
        return total
    terms[name] = total * (constraints.default_preference - 1)
    return total + terms[name]


def _steps(value: float, step: float) -> float:
    """Return the logarithm of a value in whole steps: values within a step are equals."""
    return float(round(log(value) / step)) if value > 0 else -inf


SCORES: dict[str, Callable[[Candidate, RoutingConstraints], Score]] = {
    RoutingStrategy.BALANCED: balanced,
    RoutingStrategy.COST_OPTIMIZED: cost_optimized,
    RoutingStrategy.LATENCY_OPTIMIZED: latency_optimized,
    RoutingStrategy.QUALITY_OPTIMIZED: quality_optimized,
    RoutingStrategy.LOCAL_FIRST: local_first,
    RoutingStrategy.CAPABILITY_MATCH: capability_match,
}
