"""CPU time of ranking many candidates."""

from __future__ import annotations

import random
from time import process_time

from llmroute.routing.plan import Candidate, ModelStats
from llmroute.routing.router import plan
from llmroute.types import STRATEGIES
from tests.bench.report import BenchResult, Measurement
from tests.routing.models import PROVIDERS, candidate, constraints

# Milliseconds by number of candidates.
TARGETS_MS = {100: 1.0, 2000: 10.0}
REPEATS = 30


def pool(count: int) -> list[Candidate]:
    """Generate candidates, of which one in ten is excluded."""
    chance = random.Random(count)
    return [
        candidate(
            f"{chance.choice(PROVIDERS)}/m{number}",
            cost=chance.randrange(10**11),
            quality=chance.randrange(30, 100),
            capabilities=frozenset(chance.sample(["code", "json", "vision"], 2)),
            stats=ModelStats(ttft_s=chance.uniform(0.2, 5), s_per_token=chance.uniform(0.001, 0.05)),
            unusable="no key" if chance.random() < 0.1 else None,
        )
        for number in range(count)
    ]


def measure(repeats: int = REPEATS) -> BenchResult:
    """Measure the slowest strategy, best of `repeats` runs."""
    found = BenchResult()
    for count, target_ms in TARGETS_MS.items():
        candidates = pool(count)
        slowest_ms, which = max((_best_ms(strategy, candidates, repeats), strategy) for strategy in STRATEGIES)
        found.measurements.append(
            Measurement(f"plan over {count} models, CPU", "", target_ms, slowest_ms, "ms", note=which)
        )
        found.figures.append({"candidates": count, "ms": slowest_ms, "strategy": which, "target_ms": target_ms})
    return found


def _best_ms(strategy: str, candidates: list[Candidate], repeats: int) -> float:
    wanted = constraints(strategy, capabilities=frozenset({"code"}))
    taken = []
    for _ in range(repeats):
        started = process_time()
        plan(wanted, candidates)
        taken.append(1000 * (process_time() - started))
    return min(taken)
