"""The six scoring functions: lower is better, and no candidate's score depends on which others there are.  Pure."""

from __future__ import annotations

from enum import StrEnum
from math import log, log1p
from typing import TYPE_CHECKING

from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.routing.plan import Candidate, RoutingConstraints

# Below these a difference hardly counts: tiny prompts are not fought over a hundredth of a cent.
COST_SCALE_USD = 0.0005
LATENCY_SCALE_S = 1.0
UNKNOWN_QUALITY = 60
# An unknown price is taken to be as dear as this call is ever likely to be, never as nothing.
UNKNOWN_COST_USD = 1.0
LEAST_SUCCESS = 0.8
# Quality is measured to about two points: models in one band are equals.
QUALITY_BAND = 2

Score = tuple[float, ...]
Terms = dict[str, float]


class RoutingStrategy(StrEnum):
    """How the model is chosen."""

    BALANCED = "balanced"
    COST_OPTIMIZED = "cost_optimized"
    LATENCY_OPTIMIZED = "latency_optimized"
    QUALITY_OPTIMIZED = "quality_optimized"
    LOCAL_FIRST = "local_first"
    CAPABILITY_MATCH = "capability_match"


def expected_latency_s(candidate: Candidate, constraints: RoutingConstraints) -> float:
    """Return seconds to the whole answer: time to first token, then each token; typical while nothing was stats."""
    stats = candidate.stats
    if stats.ttft_s is None:
        return candidate.typical_s
    return stats.ttft_s + (stats.s_per_token or 0.0) * constraints.size.expected_output


def quality(candidate: Candidate) -> int:
    """Return 0 to 100; a model that nobody rated is taken for a middling one."""
    return UNKNOWN_QUALITY if candidate.model.quality is None else candidate.model.quality


def balanced(candidate: Candidate, constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """J = cost + latency + quality + reliability, weighted; ten points of quality are worth paying e times more."""
    cost_usd = (
        UNKNOWN_COST_USD if candidate.expected_cost_picousd is None else candidate.expected_cost_picousd / PICO_PER_USD
    )
    weights = constraints.weights
    cost = weights.cost * log1p(cost_usd / COST_SCALE_USD)
    latency = weights.latency * log1p(expected_latency_s(candidate, constraints) / LATENCY_SCALE_S)
    lack = weights.quality * (100 - quality(candidate)) / 10
    reliability = weights.reliability * -10 * log(candidate.stats.success)
    terms = {"cost": cost, "latency": latency, "quality": lack, "reliability": reliability}
    return (cost + latency + lack + reliability,), terms


def cost_optimized(candidate: Candidate, _constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """Least expected cost; what fails more than one call in five comes after all that does not."""
    cost = candidate.expected_cost_picousd
    cost_usd = UNKNOWN_COST_USD if cost is None else cost / PICO_PER_USD
    success = candidate.stats.success
    return (float(success < LEAST_SUCCESS), float(cost is None), cost_usd), {"cost_usd": cost_usd, "success": success}


def latency_optimized(candidate: Candidate, constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """Least expected time to the whole answer."""
    latency_s = expected_latency_s(candidate, constraints)
    return (latency_s,), {"latency_s": latency_s}


def quality_optimized(candidate: Candidate, constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """Greatest quality; equals by J."""
    (j,), terms = balanced(candidate, constraints)
    return (-(quality(candidate) // QUALITY_BAND), j), terms


def local_first(candidate: Candidate, constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """What runs on this machine before what does not; else J."""
    (j,), terms = balanced(candidate, constraints)
    return (float(not candidate.local), j), terms


def capability_match(candidate: Candidate, constraints: RoutingConstraints) -> tuple[Score, Terms]:
    """Fewest capabilities beyond those asked for; else J."""
    (j,), terms = balanced(candidate, constraints)
    surplus = float(len(candidate.model.capabilities - constraints.capabilities))
    terms["surplus"] = surplus
    return (surplus, j), terms


SCORES: dict[str, Callable[[Candidate, RoutingConstraints], tuple[Score, Terms]]] = {
    RoutingStrategy.BALANCED: balanced,
    RoutingStrategy.COST_OPTIMIZED: cost_optimized,
    RoutingStrategy.LATENCY_OPTIMIZED: latency_optimized,
    RoutingStrategy.QUALITY_OPTIMIZED: quality_optimized,
    RoutingStrategy.LOCAL_FIRST: local_first,
    RoutingStrategy.CAPABILITY_MATCH: capability_match,
}
