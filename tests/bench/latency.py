"""Excess latency of latency-optimized routing over an oracle, in simulated worlds.

Each world has three to six models with log-normal latencies, and lasts four days.  The best model of each day is six
times slower for three hours of it, and on the second day another model becomes the best for good.  Models, medians,
spreads, hours and the next best model are drawn from a fixed seed; the medians lie within a factor of three, or of ten,
of each other.  Excess compares the true means of the chosen models with those of an oracle that knows the true means at
all times.  The floor is an oracle that must observe one slow answer to detect a slowdown.  The estimates use the
program's own formulas; their constants were fitted on other worlds.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import mean, quantiles
from typing import TYPE_CHECKING, Protocol

from llmroute.ledger.statistics import latency
from llmroute.ledger.statistics import values as stats
from llmroute.routing.latency_estimate import Evidence, estimate, never_called, provider_factor
from tests.bench.report import BenchResult, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORLDS = 300
FACTORS = (3, 10)
DAYS = 4
DAY_S = 86_400
EVERY_S = (30, 300, 1800)
SLOWER = 6.0
SLOW_S = 3 * 3600
CLASS_S = 1.0
"""The seconds that the catalogue would expect of every model: each world has one class, of one provider."""
# Excess over the oracle by seconds between requests.
TARGETS = {30: 0.10, 300: 0.15, 1800: 0.25}
RESAMPLES = 2000


class Chooser(Protocol):
    """Chooses a model and learns from its latency."""

    def choose(self, now_s: float) -> int: ...

    def learn(self, model: int, seconds: float, now_s: float) -> None: ...


class Learned:
    """The estimates of llmroute."""

    def __init__(self, models: int) -> None:
        self._known: list[latency.Latency | None] = [None] * models
        self._calls = 0.0
        self._last_ms = 0

    def choose(self, now_s: float) -> int:
        now_ms = round(now_s * 1000)
        rate = stats.calls_per_h(self._calls_left(now_ms))
        called = sum(one is not None for one in self._known)
        evidence = [None if one is None else Evidence(*one.evidence(now_ms, called)) for one in self._known]
        prior = CLASS_S * provider_factor((one, CLASS_S) for one in evidence if one is not None)
        expected = [never_called(prior) if one is None else estimate(one, prior, rate) for one in evidence]
        return expected.index(min(expected))

    def learn(self, model: int, seconds: float, now_s: float) -> None:
        now_ms = round(now_s * 1000)
        known = self._known[model]
        self._known[model] = known.joined(seconds, now_ms) if known else latency.first(seconds, now_ms)
        self._calls = self._calls_left(now_ms) + 1
        self._last_ms = now_ms

    def _calls_left(self, now_ms: int) -> float:
        return self._calls * latency.faded(now_ms - self._last_ms, stats.RELIABILITY_HALF_LIFE_MS)


class MeanOfTen:
    """The mean of the last ten latencies; models without one come first."""

    def __init__(self, models: int) -> None:
        self._last = [deque[float](maxlen=10) for _ in range(models)]
        self._means = [0.0] * models

    def choose(self, _now_s: float) -> int:
        return self._means.index(min(self._means))

    def learn(self, model: int, seconds: float, _now_s: float) -> None:
        self._last[model].append(seconds)
        self._means[model] = sum(self._last[model]) / len(self._last[model])


class Ewma:
    """An exponentially weighted mean with a weight of 0.3; models without a latency come first."""

    def __init__(self, models: int) -> None:
        self._means = [0.0] * models

    def choose(self, _now_s: float) -> int:
        return self._means.index(min(self._means))

    def learn(self, model: int, seconds: float, _now_s: float) -> None:
        known = self._means[model]
        self._means[model] = 0.7 * known + 0.3 * seconds if known else seconds


CHOOSERS: dict[str, Callable[[int], Chooser]] = {"llmroute": Learned, "mean of ten": MeanOfTen, "EWMA 0.3": Ewma}


@dataclass(frozen=True)
class World:
    """Medians by day, spreads, and for each day the model that is slow and the time when that begins."""

    medians: list[list[float]]
    sigmas: list[float]
    slow: list[tuple[int, float]]

    def means(self, now_s: float) -> list[float]:
        """Return the true mean latency of every model now."""
        day = min(int(now_s // DAY_S), DAYS - 1)
        means = [median * math.exp(sigma**2 / 2) for median, sigma in zip(self.medians[day], self.sigmas, strict=True)]
        who, since = self.slow[day]
        if since <= now_s < since + SLOW_S:
            means[who] *= SLOWER
        return means


def world(factor: float, seed: int) -> World:
    """Generate a world whose medians lie within a factor of each other."""
    chance = random.Random(seed)
    models = chance.randint(3, 6)
    sigmas = [chance.uniform(0.3, 0.7) for _ in range(models)]
    first = [0.5 * factor ** chance.random() for _ in range(models)]

    def true_means(medians: list[float]) -> list[float]:
        return [median * math.exp(sigma**2 / 2) for median, sigma in zip(medians, sigmas, strict=True)]

    means = true_means(first)
    best = means.index(min(means))
    rising = chance.choice([model for model in range(models) if model != best])
    later = list(first)
    later[rising] *= means[best] / means[rising] * chance.uniform(0.4, 0.9)
    medians = [first, *([later] * (DAYS - 1))]
    slow = []
    for day, today in enumerate(medians):
        means = true_means(today)
        slow.append((means.index(min(means)), day * DAY_S + chance.uniform(0, DAY_S - SLOW_S)))
    return World(medians, sigmas, slow)


def excesses(factor: float, every_s: int, seed: int) -> list[float]:
    """Return the excess over the oracle of every chooser in one world; all get the same latencies."""
    here = world(factor, seed)
    choosers = [make(len(here.sigmas)) for make in CHOOSERS.values()]
    latencies = random.Random(seed + 1_000_000)
    taken = [0.0] * len(choosers)
    oracle = 0.0
    for now_s in range(0, DAYS * DAY_S, every_s):
        means = here.means(now_s)
        oracle += min(means)
        # One latency for each model, whichever chooser calls it.
        times = [
            latencies.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)
            for mean, sigma in zip(means, here.sigmas, strict=True)
        ]
        for index, chooser in enumerate(choosers):
            chosen = chooser.choose(now_s)
            taken[index] += means[chosen]
            chooser.learn(chosen, times[chosen], now_s)
    return [each / oracle - 1 for each in taken]


def floor(factor: float, every_s: int, seed: int) -> float:
    """Return the excess of an oracle that needs one slow answer to detect a slowdown."""
    here = world(factor, seed)
    taken = oracle = 0.0
    seen: set[int] = set()
    for now_s in range(0, DAYS * DAY_S, every_s):
        means = here.means(now_s)
        who, since = here.slow[day := now_s // DAY_S]
        surprised = day not in seen and since <= now_s < since + SLOW_S
        if surprised:
            seen.add(day)
        taken += means[who] if surprised else min(means)
        oracle += min(means)
    return taken / oracle - 1


def simulate(factor: float, every_s: int, worlds: int) -> tuple[list[list[float]], float]:
    """Return the excess of every chooser in every world, and the mean excess of the floor."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(excesses, factor, every_s), range(worlds), chunksize=5))
        unavoidable = mean(pool.map(partial(floor, factor, every_s), range(worlds), chunksize=5))
    return [list(each) for each in zip(*found, strict=True)], unavoidable


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean."""
    chance = random.Random(0)
    means = sorted(mean(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


def measure(worlds: int = WORLDS) -> BenchResult:
    """Compare the choosers in `worlds` worlds."""
    figures: list[dict[str, object]] = []
    measurements: list[Measurement] = []
    lines = [f"{worlds} worlds; mean excess over the oracle (90th percentile); difference in points, 95 % interval"]
    for factor, every_s in itertools.product(FACTORS, EVERY_S):
        each, unavoidable = simulate(factor, every_s, worlds)
        found = dict(zip(CHOOSERS, each, strict=True))
        ours = found["llmroute"]
        target = TARGETS[every_s]
        where = f"medians within a factor of {factor}, one request every {every_s} s"
        measurements.append(Measurement(f"excess latency, {where}", "an oracle", target, mean(ours)))
        lines.append(f"\n{where}")
        lines.append(f"  {'floor':<12} {unavoidable:6.1%}")
        figures.append({"factor": factor, "every_s": every_s, "chooser": "floor", "excess": unavoidable})
        for name, values in found.items():
            differences = [mine - theirs for mine, theirs in zip(ours, values, strict=True)]
            low, high = interval(differences)
            p90 = quantiles(values, n=10)[-1]
            verdict = "" if values is ours else "better" if high < 0 else "worse" if low > 0 else "tie"
            against = "" if values is ours else f"{mean(differences):+7.1%} [{low:+.1%}, {high:+.1%}]  {verdict}"
            lines.append(f"  {name:<12} {mean(values):6.1%} ({p90:6.1%})   {against}".rstrip())
            row: dict[str, object] = {
                "factor": factor,
                "every_s": every_s,
                "chooser": name,
                "excess": mean(values),
                "p90": p90,
            }
            figures.append({**row, "llmroute_minus_this": [mean(differences), low, high], "verdict": verdict or None})
    return BenchResult(measurements, "\n".join(lines) + "\n\n", figures)
