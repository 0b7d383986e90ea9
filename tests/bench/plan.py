"""How long does it take to rank many candidates?  CPU time, since other programs are no part of it."""

from __future__ import annotations

import random
from time import process_time

from llmroute.routing.plan import Candidate, ModelStats
from llmroute.routing.router import plan
from llmroute.types import STRATEGIES
from tests.bench.promise import Measured, Promise
from tests.routing.models import PROVIDERS, candidate, wish

# What is promised: milliseconds for so many candidates.
REACH_MS = {100: 1.0, 2000: 10.0}
REPEATS = 30


def pool(count: int) -> list[Candidate]:
    """Draw candidates of which one in ten is out."""
    chance = random.Random(count)
    return [
        candidate(
            f"{chance.choice(PROVIDERS)}/m{number}",
            cost=chance.randrange(10**11),
            quality=chance.randrange(30, 100),
            capabilities=frozenset(chance.sample(["code", "json", "vision"], 2)),
            learned=ModelStats(ttft_s=chance.uniform(0.2, 5), s_per_token=chance.uniform(0.001, 0.05)),
            unusable="no key" if chance.random() < 0.1 else None,
        )
        for number in range(count)
    ]


def measure(repeats: int = REPEATS) -> Measured:
    """Take the best of the repeats, for the slowest strategy."""
    found = Measured()
    for count, reach_ms in REACH_MS.items():
        candidates = pool(count)
        slowest_ms, which = max((_best_ms(strategy, candidates, repeats), strategy) for strategy in STRATEGIES)
        found.promises.append(Promise(f"plan over {count} models, CPU", "", reach_ms, slowest_ms, "ms", note=which))
        found.figures.append({"candidates": count, "ms": slowest_ms, "strategy": which, "reach_ms": reach_ms})
    return found


def _best_ms(strategy: str, candidates: list[Candidate], repeats: int) -> float:
    wanted = wish(strategy, capabilities=frozenset({"code"}))
    taken = []
    for _ in range(repeats):
        started = process_time()
        plan(wanted, candidates)
        taken.append(1000 * (process_time() - started))
    return min(taken)
