"""Simulated models with tables of answers, shaped like public tables of results per prompt.

A table holds the output tokens of one model for 60 prompts of each of four tasks.  Within a task lengths are log-normal
(standard deviation of the logarithm 0.7 to 0.8 without reasoning, 0.8 to 1.0 with it), no answer is longer than 32,768
tokens, and the means of a model's tasks differ by a factor of four (median over models).  Models answer with 330 to
19,000 tokens on average, at prices over two decades.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING

from llmroute.routing.output_length import Answers, output_length
from llmroute.routing.plan import Candidate, ModelStats
from llmroute.routing.strategies import EVEN_QUALITY, QUALITY_SCALE, chance_of_quality
from llmroute.types import PICO_PER_USD
from tests.routing.models import candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = 18
TASKS, PROMPTS = 4, 60
BETWEEN_TASKS = 0.7
PLAIN_SPREAD, REASONING_SPREAD = (0.7, 0.8), (0.8, 1.0)
LONGEST_ANSWER = 32_768
SHORTEST, LONGEST = 330, 19_000
REASONS_FROM_TOKENS = 1_500
RATING_ERROR = 4.0
INPUT_TOKENS = 400
NO_ANSWERS = Answers()
CHEAPEST_USD, DEAREST_USD = 0.06, 6.0
"""Of a million output tokens."""

FRONTIER = ((0.02, 0.229), (1.7, 0.72), (12.3, 0.845), (42.5, 0.887))
"""The best models of the measured table for their cost: USD per 1,000 calls, and the share of right answers."""
LEAST_USD, COST_RANGE = 0.1, 1_000
MOST_SHORTFALL = 0.18
"""The other models cost 0.10 to 100 USD per 1,000 calls and are right up to 18 points less often than the frontier, so
that a model picked at random is right in 64 % of its answers and costs 14 USD, as in the measured table."""


def answer_table(chance: random.Random, mean_tokens: float) -> list[list[int]]:
    """Draw the lengths of a model's answers, by task."""
    spread = chance.uniform(*(REASONING_SPREAD if mean_tokens >= REASONS_FROM_TOKENS else PLAIN_SPREAD))
    levels = [chance.gauss(0, BETWEEN_TASKS) for _ in range(TASKS)]
    drawn = [[math.exp(level + chance.gauss(0, spread)) for _ in range(PROMPTS)] for level in levels]
    scale = 1.0
    for _ in range(20):
        scale *= mean_tokens / mean(min(scale * one, LONGEST_ANSWER) for task in drawn for one in task)
    return [[max(round(min(scale * one, LONGEST_ANSWER)), 1) for one in task] for task in drawn]


@dataclass
class SimulatedModel:
    """A model whose truth is known: USD per million output tokens, lengths by task, chance of a right answer."""

    name: str
    usd_per_million: float
    table: list[list[int]] = field(repr=False)
    quality: int
    right: float
    answers: Answers = NO_ANSWERS

    @cached_property
    def lengths(self) -> list[int]:
        """The output tokens of all answers."""
        return [tokens for task in self.table for tokens in task]

    @cached_property
    def cost_usd(self) -> float:
        """The true mean cost of a call."""
        return self.usd_of(mean(self.lengths))

    @cached_property
    def effort(self) -> str:
        """The effort that the program assumes."""
        return "medium" if mean(self.lengths) >= REASONS_FROM_TOKENS else "none"

    def expected_usd(self, of_task: Answers = NO_ANSWERS) -> float:
        """Return the cost that the program expects, of a call with a task if answers to it are given."""
        return self.usd_of(output_length(self.effort, self.answers, of_task, None).tokens)

    def candidate(self) -> Candidate:
        """Return the model as the router gets it."""
        length = output_length(self.effort, self.answers, NO_ANSWERS, None)
        cost = round(self.usd_of(length.tokens) * PICO_PER_USD)
        stats = ModelStats(ttft_s=1.0, s_per_token=0.01, success=1.0, answers=self.answers)
        return candidate(self.name, cost=cost, quality=self.quality, tokens=length.tokens, stats=stats)

    def learn(self, lengths: Sequence[int]) -> None:
        """Take these answers into the ledger."""
        self.answers = Answers(self.answers.number + len(lengths), self.answers.tokens + sum(lengths))

    def call(self, chance: random.Random) -> float:
        """Answer one prompt of the table, and return the cost in USD."""
        tokens = chance.choice(self.lengths)
        self.learn([tokens])
        return self.usd_of(tokens)

    def usd_of(self, tokens: float) -> float:
        """Return the cost of a call with an answer of so many tokens."""
        return (tokens + INPUT_TOKENS / 4) * self.usd_per_million / 10**6


def independent_world(seed: int) -> list[SimulatedModel]:
    """Draw models whose quality, price and length are only loosely related: the better tend to be dearer and longer."""
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
                usd_per_million=CHEAPEST_USD * (DEAREST_USD / CHEAPEST_USD) ** dearness,
                table=answer_table(chance, SHORTEST * (LONGEST / SHORTEST) ** wordiness),
                quality=round(quality),
                right=chance_of_quality(chance.gauss(quality, RATING_ERROR)),
            )
        )
    return models


def measured_world(seed: int) -> list[SimulatedModel]:
    """Draw models with the costs and shares of right answers of the measured table."""
    chance = random.Random(seed)
    points = list(FRONTIER)
    while len(points) < MODELS:
        usd = LEAST_USD * COST_RANGE ** chance.random()
        points.append((usd, _frontier(usd) - chance.uniform(0, MOST_SHORTFALL)))
    chance.shuffle(points)
    models = []
    for number, (usd, right) in enumerate(points):
        tokens = _length(chance, usd)
        quality = EVEN_QUALITY + QUALITY_SCALE * math.log(right / (1 - right))
        models.append(
            SimulatedModel(
                f"openai/m{number:02}",
                usd_per_million=usd * 1_000 / (tokens + INPUT_TOKENS / 4),
                table=answer_table(chance, tokens),
                quality=round(min(max(chance.gauss(quality, RATING_ERROR), 0), 100)),
                right=right,
            )
        )
    return models


def _frontier(usd: float) -> float:
    """Return the greatest share of right answers at a cost in USD per 1,000 calls: linear in the logarithm."""
    for (cheaper, low), (dearer, high) in pairwise(FRONTIER):
        if usd <= dearer:
            return low + (high - low) * math.log(usd / cheaper) / math.log(dearer / cheaper)
    return FRONTIER[-1][1]


def _length(chance: random.Random, usd: float) -> float:
    """Draw a mean length for which a model of this cost, in USD per 1,000 calls, has one of the prices."""
    shortest = max(SHORTEST, usd * 1_000 / DEAREST_USD - INPUT_TOKENS / 4)
    longest = max(min(LONGEST, usd * 1_000 / CHEAPEST_USD - INPUT_TOKENS / 4), SHORTEST)
    shortest = min(shortest, longest)
    return float(shortest * (longest / shortest) ** chance.random())
