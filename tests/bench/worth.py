"""How far are expected costs from the truth, and what do the strategies that count them spend and get right?

Every answer is learned as the ledger learns it, and every plan is made by the program's own router.  A model's rating
says its chance of a right answer with an error of four points of the rating, six points of chance on average.
"""

from __future__ import annotations

import math
import random
from statistics import NormalDist, mean, median
from typing import TYPE_CHECKING

from llmroute.routing.output_length import Answers
from llmroute.routing.plan import RoutingConstraints
from llmroute.routing.router import plan
from llmroute.routing.token_estimate import PromptSize
from tests.bench.report import BenchResult, Measurement
from tests.bench.worth_worlds import INPUT_TOKENS, independent_world, measured_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.worth_worlds import SimulatedModel

WORLDS = 60
CALLS = 1_000
SIZE = PromptSize(INPUT_TOKENS, INPUT_TOKENS, INPUT_TOKENS, 500)
NEAR = 0.25
NEAR_POINTS, CHEAP_SHARE = 5, 0.5


def chosen(models: Sequence[SimulatedModel], strategy: str) -> SimulatedModel:
    """Return the model that the router would call first."""
    constraints = RoutingConstraints(strategy, SIZE)
    first = plan(constraints, [one.candidate() for one in models]).entries[0].model.name
    return next(one for one in models if one.name == first)


def share_near(models: Sequence[SimulatedModel], seed: int, answers: int) -> float:
    """Return the share of models whose expected cost is near the truth after so many answers, to whichever tasks."""
    chance = random.Random(seed + 10**6)
    for one in models:
        one.learn(chance.sample(one.lengths, answers))
    return mean(is_near(one.expected_usd(), one.cost_usd) for one in models)


def share_near_by_task(models: Sequence[SimulatedModel], seed: int, answers: int) -> float:
    """Return the share of (model, task) whose expected cost is near the truth after so many answers to each task."""
    chance, near = random.Random(seed + 10**6), []
    for one in models:
        seen = [chance.sample(lengths, answers) for lengths in one.table]
        for lengths in seen:
            one.learn(lengths)
        near += [
            is_near(one.expected_usd(Answers(answers, sum(of_task))), one.usd_of(mean(lengths)))
            for of_task, lengths in zip(seen, one.table, strict=True)
        ]
    return mean(near)


def is_near(expected: float, truth: float) -> bool:
    """Whether a figure is within 25 % of the truth."""
    return abs(expected / truth - 1) <= NEAR


def most_near(answers: int, spread: float) -> float:
    """Return how often any estimate can be within 25 % of the mean of a log-normal distribution.

    The logarithm of the mean is known to spread / sqrt(answers) at best, also where the spread is known beforehand, and
    what counts as near is ln(1.25 / 0.75) wide.
    """
    half_width = math.log((1 + NEAR) / (1 - NEAR)) / 2
    return 2 * NormalDist().cdf(half_width * math.sqrt(answers) / spread) - 1


def spend_over_best(models: Sequence[SimulatedModel], seed: int) -> float:
    """Return the cost of 1,000 calls with cost_optimized, over the mean cost of the cheapest model."""
    chance = random.Random(seed + 10**6)
    spent = sum(chosen(models, "cost_optimized").call(chance) for _ in range(CALLS))
    return spent / (CALLS * min(one.cost_usd for one in models))


def balanced_after_half(models: Sequence[SimulatedModel], seed: int) -> tuple[float, float]:
    """Return how balanced does on one half of the table after it has learned the other half.

    By how many points its choice is right less often than the best model, and its share of that one's cost.
    """
    chance, usd = random.Random(seed + 10**6), {}
    for one in models:
        lengths = chance.sample(one.lengths, len(one.lengths))
        one.learn(lengths[: len(lengths) // 2])
        usd[one.name] = one.usd_of(mean(lengths[len(lengths) // 2 :]))
    choice, best = chosen(models, "balanced"), best_of(models)
    return 100 * (best.right - choice.right), usd[choice.name] / usd[best.name]


def balanced_from_nothing(models: Sequence[SimulatedModel], seed: int) -> tuple[float, float]:
    """Return how balanced does over 1,000 calls that begin with an empty ledger."""
    chance, called = random.Random(seed + 10**6), []
    for _ in range(CALLS):
        one = chosen(models, "balanced")
        one.call(chance)
        called.append(one)
    best = best_of(models)
    behind = 100 * (best.right - mean(one.right for one in called))
    return behind, mean(one.cost_usd for one in called) / best.cost_usd


def best_of(models: Sequence[SimulatedModel]) -> SimulatedModel:
    """Return the model that is most often right."""
    return max(models, key=lambda one: one.right)


def is_near_and_cheap(behind: float, share: float) -> bool:
    """Whether a choice is within 5 points of the best model at half its cost."""
    return behind <= NEAR_POINTS and share <= CHEAP_SHARE


def is_possible(models: Sequence[SimulatedModel]) -> bool:
    """Whether any single model is within 5 points of the best one at half its cost or less."""
    best = best_of(models)
    return any(is_near_and_cheap(100 * (best.right - one.right), one.cost_usd / best.cost_usd) for one in models)


WORLDS_OF = {"measured": measured_world, "independent": independent_world}
LEARNED: dict[str, Callable[[Sequence[SimulatedModel], int], tuple[float, float]]] = {
    "from half of the table": balanced_after_half,
    "from nothing": balanced_from_nothing,
}
SHARES: dict[str, tuple[Callable[[Sequence[SimulatedModel], int, int], float], tuple[int, ...]]] = {
    "of all tasks": (share_near, (8, 20, 60)),
    "of the task": (share_near_by_task, (5, 10, 15, 20)),
}


def measure(worlds: int = WORLDS) -> BenchResult:
    """Measure the promises in so many worlds of each kind."""
    found, seeds = BenchResult(), range(worlds)
    near = {
        (kind, of, answers): mean(share(draw(seed), seed, answers) for seed in seeds)
        for kind, draw in WORLDS_OF.items()
        for of, (share, numbers) in SHARES.items()
        for answers in numbers
    }
    spend = [spend_over_best(independent_world(seed), seed) for seed in seeds]
    balanced = {
        (kind, learned): [play(draw(seed), seed) for seed in seeds]
        for kind, draw in WORLDS_OF.items()
        for learned, play in LEARNED.items()
    }
    within = near["measured", "of all tasks", 20]
    promised = _near_and_cheap(balanced["measured", "from half of the table"])
    found.measurements = [
        Measurement("models with expected cost within 25 % after 20 answers", "the truth", 0.75, within, at_least=True),
        Measurement("spend of cost_optimized, 1,000 calls", "the cheapest model", 1.05, median(spend), note="median"),
        Measurement("worlds: balanced within 5 points at half the cost", "all", 0.5, promised, at_least=True),
    ]
    found.figures = [
        *({"worlds": kind, "answers": [number, of], "near": share} for (kind, of, number), share in near.items()),
        {"log_normal": 1.3, "answers": 20, "at_most_near": most_near(20, 1.3)},
        {"spend_over_best": {"mean": mean(spend), "median": median(spend), "most": max(spend)}},
        *(
            {
                "worlds": kind,
                "balanced_learned": learned,
                "near_and_cheap": _near_and_cheap(results),
                "points_behind": mean(behind for behind, _ in results),
                "cost_share": mean(share for _, share in results),
            }
            for (kind, learned), results in balanced.items()
        ),
        {"possible": {kind: mean(is_possible(draw(seed)) for seed in seeds) for kind, draw in WORLDS_OF.items()}},
    ]
    found.details = "\n".join(map(str, found.figures)) + "\n\n"
    return found


def _near_and_cheap(results: list[tuple[float, float]]) -> float:
    return mean(is_near_and_cheap(behind, share) for behind, share in results)
