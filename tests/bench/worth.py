"""How far are expected costs from the truth, and what do the strategies that count them spend and get right?

Each world has 18 models with prices over two decades, mean lengths of answers from 330 to 19,000 tokens and log-normal
answers (standard deviation 1.3).  Better models tend to be dearer and to write more.  A model's rating says its chance
of a right answer with an error of four points of the rating: six points of chance at most.  Every answer is learned as
the ledger learns it, and every plan is made by the program's own router.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING

from llmroute.routing.output_length import Answers, output_length
from llmroute.routing.plan import Candidate, ModelStats, RoutingConstraints
from llmroute.routing.router import plan
from llmroute.routing.strategies import chance_of_quality
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import PICO_PER_USD
from tests.bench.report import BenchResult, Measurement
from tests.routing.models import candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

WORLDS = 60
MODELS = 18
CALLS = 1_000
SPREAD = 1.3
OF_ONE_TASK = 0.8
"""The standard deviation within one task: measured from 0.7 to 1.0, by model."""
SHORTEST, LONGEST = 330, 19_000
REASONS_FROM_TOKENS = 1_500
RATING_ERROR = 4.0
INPUT_TOKENS = 400
NO_ANSWERS = Answers()
SIZE = PromptSize(INPUT_TOKENS, INPUT_TOKENS, INPUT_TOKENS, 500)
CHEAPEST_USD = 0.06
"""Of a million output tokens: the cheapest model costs 0.02 USD for a thousand calls, the dearest some 40."""


@dataclass
class SimulatedModel:
    """A model whose truth is known: USD per million output tokens, mean length, and the chance of a right answer."""

    name: str
    usd_per_million: float
    tokens: float
    quality: int
    right: float
    answers: Answers = NO_ANSWERS

    @property
    def effort(self) -> str:
        """What the program takes for the effort of the model."""
        return "medium" if self.tokens >= REASONS_FROM_TOKENS else "none"

    @property
    def cost_usd(self) -> float:
        """The true mean cost of a call."""
        return self._cost_usd(self.tokens)

    def expected_usd(self) -> float:
        """Return the cost that the program expects."""
        return self._cost_usd(output_length(self.effort, self.answers, Answers(), None).tokens)

    def candidate(self) -> Candidate:
        """Return the model as the router gets it."""
        length = output_length(self.effort, self.answers, Answers(), None)
        cost = round(self._cost_usd(length.tokens) * PICO_PER_USD)
        stats = ModelStats(ttft_s=1.0, s_per_token=0.01, success=1.0, answers=self.answers)
        return candidate(self.name, cost=cost, quality=self.quality, tokens=length.tokens, stats=stats)

    def call(self, chance: random.Random, spread: float = SPREAD) -> float:
        """Answer once: learn the length, and return the cost in USD."""
        tokens = max(round(chance.lognormvariate(math.log(self.tokens) - spread**2 / 2, spread)), 1)
        self.answers = Answers(self.answers.number + 1, self.answers.tokens + tokens)
        return self._cost_usd(tokens)

    def _cost_usd(self, tokens: float) -> float:
        return (tokens + INPUT_TOKENS / 4) * self.usd_per_million / 10**6


def world(seed: int) -> list[SimulatedModel]:
    """Draw the models of a world."""
    chance = random.Random(seed)
    models = []
    for number in range(MODELS):
        strength = chance.random() ** 0.6
        quality = 45 + 50 * strength
        dearness = min(max(chance.gauss(strength, 0.25), 0), 1)
        wordiness = min(max(0.5 * strength + 0.5 * chance.random(), 0), 1)
        models.append(
            SimulatedModel(
                f"openai/m{number:02}",
                usd_per_million=CHEAPEST_USD * 100**dearness,
                tokens=SHORTEST * (LONGEST / SHORTEST) ** wordiness,
                quality=round(quality),
                right=chance_of_quality(chance.gauss(quality, RATING_ERROR)),
            )
        )
    return models


def chosen(models: Sequence[SimulatedModel], strategy: str) -> SimulatedModel:
    """Return the model that the router would call first."""
    constraints = RoutingConstraints(strategy, SIZE)
    first = plan(constraints, [one.candidate() for one in models]).entries[0].model.name
    return next(one for one in models if one.name == first)


def share_within_a_quarter(seed: int, answers: int, spread: float = SPREAD) -> float:
    """Return the share of models whose expected cost is within 25 % of the truth after so many answers of each."""
    chance, models = random.Random(seed + 10**6), world(seed)
    for one in models:
        for _ in range(answers):
            one.call(chance, spread)
    return mean(abs(one.expected_usd() / one.cost_usd - 1) <= 0.25 for one in models)


def spend_over_best(seed: int) -> float:
    """Return what cost_optimized spends on a thousand calls, over the mean cost of the cheapest model."""
    chance, models = random.Random(seed + 10**6), world(seed)
    spent = sum(chosen(models, "cost_optimized").call(chance) for _ in range(CALLS))
    return spent / (CALLS * min(one.cost_usd for one in models))


def balanced_beside_best(seed: int) -> tuple[float, float]:
    """Return by how many points balanced is right less often than the best model, and its share of that one's cost."""
    chance, models = random.Random(seed + 10**6), world(seed)
    called = []
    for _ in range(CALLS):
        one = chosen(models, "balanced")
        one.call(chance)
        called.append(one)
    best = max(models, key=lambda one: one.right)
    behind = 100 * (best.right - mean(one.right for one in called))
    return behind, mean(one.cost_usd for one in called) / best.cost_usd


def is_possible(seed: int) -> bool:
    """Whether any single model of a world is within 5 points of the best one at half its cost or less."""
    models = world(seed)
    best = max(models, key=lambda one: one.right)
    return any(100 * (best.right - one.right) <= 5 and one.cost_usd <= best.cost_usd / 2 for one in models)


def measure(worlds: int = WORLDS) -> BenchResult:
    """Measure the promises in so many worlds."""
    found = BenchResult()
    within = mean(share_within_a_quarter(seed, 20) for seed in range(worlds))
    spend = [spend_over_best(seed) for seed in range(worlds)]
    balanced = [balanced_beside_best(seed) for seed in range(worlds)]
    near_and_cheap = mean(behind <= 5 and share <= 0.5 for behind, share in balanced)
    possible = mean(map(is_possible, range(worlds)))
    found.measurements = [
        Measurement("models with expected cost within 25 % after 20 answers", "the truth", 0.75, within, at_least=True),
        Measurement("spend of cost_optimized, 1,000 calls", "the cheapest model", 1.05, median(spend), note="median"),
        Measurement("worlds: balanced within 5 points at half the cost", "all", 0.5, near_and_cheap, at_least=True),
    ]
    found.figures = [
        {
            "spread": spread,
            "answers": answers,
            "within_a_quarter": mean(share_within_a_quarter(seed, answers, spread) for seed in range(worlds)),
        }
        for spread in (OF_ONE_TASK, SPREAD)
        for answers in (8, 20, 60)
    ]
    found.figures += [{"spend_over_best": {"mean": mean(spend), "median": median(spend), "most": max(spend)}}]
    found.figures += [
        {
            "balanced": {
                "points_behind": mean(one for one, _ in balanced),
                "cost_share": mean(two for _, two in balanced),
                "worlds_where_possible": possible,
            }
        }
    ]
    found.details = "\n".join(map(str, found.figures)) + "\n\n"
    return found
