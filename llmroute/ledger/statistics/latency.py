"""The latency of calls: a level, how far answers scatter around it, and how likely a temporary slowdown is.

In natural logarithms of seconds, with a level m of n calls, a variance v and a chance p of trouble (a temporary
slowdown) that has lasted s hours and adds d, and an answer x that comes a hours after the one before:

    q  = p e^(-a (a + 2 s) / 4),  q <- q + (1 - q) 0.02 n / (n + 0.1) (1 - e^(-a / 2))      in trouble now?
    n <- n 2^(-a / 24),  r = x - m,  w = v (1 + 1 / (n + 0.2))
    p, g = the shares, among the three explanations of r, of the last two:
           as usual (1 - q) N(r; 0, w),  trouble q N(r; d, w + 0.6),  changed for ever 0.08 a N(r; 0, w + 0.16)
    n <- min((1 - g) n + 1 - p, 16)
    m <- m + (1 - p) r / n
    v <- v + (1 - p - g) (min(r^2, 9 v) - v) / (n + 25), from 0.04 to 4
    d <- d + (r - d) 0.6 / (0.6 + v), from 0.5, while p is a half or more; else d = 1.6 and s = 0

N(r; c, w) is the normal density of r around c with variance w.  So a model that is well known is left after one bad
answer, or after a few in quick succession; its level holds again when the slowdown is likely to be over,
the sooner the longer it has lasted (a Weibull distribution of shape 2: some two hours); and a slowdown that lasts for
longer becomes the new level.
Source: Hamilton's filter of a process that changes its regime (Econometrica 57, 1989); the constants were fitted on
random worlds that `tests/bench/latency.py` does not use.
"""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

HOUR_MS = 3_600_000
HALF_LIFE_MS = 24 * HOUR_MS
# Answers at once, or of a clock that jumped back, say as much of a change as answers half a minute apart.
LEAST_APART_H = 1 / 120
MOST_CALLS = 16.0
# How far answers scatter, as a variance, before that was seen, and how many calls it counts as.
TYPICAL_SPREAD = 0.2
SPREAD_CALLS = 25.0
LEAST_SPREAD = 0.04
MOST_SPREAD = 4.0
OUTLIER = 9.0
# Next to nothing, where nothing cannot be divided by or has no logarithm.
LEAST_WEIGHT = 0.001
TINY = 1e-300
# In what share of its time a well-known model is in trouble, how long that lasts, and what it adds (e^1.6 = 5).
IN_TROUBLE = 0.02
TROUBLE_H = 2
TYPICALLY_SLOWER = 1.6
LEAST_SLOWER = 0.5
SLOWER_SPREAD = 0.6
# From here on it is taken to be in trouble: when that began and how much slower it is are kept.
LIKELY = 0.5
FAMILIAR_CALLS = 0.1
# How often the level changes permanently, and by how much, as a variance.
CHANGES_PER_H = 0.08
CHANGE_SPREAD = 0.16
# A level without any observation still counts as a fifth of an answer.
VAGUE_CALLS = 0.2
# From here on, the more models there are to keep an eye on, the longer each is left.
FEW_MODELS = 5


class LatencyKey(NamedTuple):
    """A metric of a model for prompts of one size."""

    provider: str
    model: str
    effort: str
    bucket: int
    metric: str


class Latency(NamedTuple):
    """The estimate of one model's seconds.

    `weight` is how many calls are behind the level at `at_ms`, `log_sum` that times the level; `trouble` is how likely
    the last answer came of trouble, which began at `since_ms` at the latest and adds `slower` to the level.
    """

    weight: float
    log_sum: float
    at_ms: int
    spread: float = TYPICAL_SPREAD
    trouble: float = 0.0
    slower: float = TYPICALLY_SLOWER
    since_ms: int = 0

    @property
    def level(self) -> float:
        """The logarithm of the usual seconds."""
        return self.log_sum / self.weight

    def evidence(self, now_ms: int, models: int) -> tuple[float, float, float, float, float, float]:
        """Return weight, level, spread, trouble and how much slower it makes, all as of now, and hours since a call.

        `models` is how many are known: beyond a few, time passes more slowly for what is not being called.
        """
        elapsed_ms = max(now_ms - self.at_ms, 0)
        unseen_ms = elapsed_ms / max(models / FEW_MODELS, 1)
        weight = self.weight * faded(unseen_ms, HALF_LIFE_MS)
        return weight, self.level, self.spread, self._in_trouble(elapsed_ms), self.slower, unseen_ms / HOUR_MS

    def joined(self, seconds: float, at_ms: int) -> Latency:
        """Return the estimate after one more call."""
        elapsed_ms = max(at_ms - self.at_ms, LEAST_APART_H * HOUR_MS)
        weight = self.weight * faded(elapsed_ms, HALF_LIFE_MS)
        surprise = log(seconds) - self.level
        usual, trouble, changed = self._explained(surprise, weight, elapsed_ms)
        weight = min(max((1 - changed) * weight + 1 - trouble, LEAST_WEIGHT), MOST_CALLS)
        level = self.level + (1 - trouble) * surprise / weight
        scatter = min(surprise**2, OUTLIER * self.spread)
        spread = self.spread + usual * (scatter - self.spread) / (weight + SPREAD_CALLS)
        spread = min(max(spread, LEAST_SPREAD), MOST_SPREAD)
        if trouble < LIKELY:
            return Latency(weight, weight * level, at_ms, spread, trouble, since_ms=at_ms)
        slower = self.slower + SLOWER_SPREAD / (SLOWER_SPREAD + self.spread) * (surprise - self.slower)
        since_ms = self.since_ms if self.trouble >= LIKELY else at_ms
        return Latency(weight, weight * level, at_ms, spread, trouble, max(slower, LEAST_SLOWER), since_ms)

    def _in_trouble(self, elapsed_ms: float) -> float:
        """Return the chance of a temporary slowdown after a time."""
        elapsed, lasted = elapsed_ms / HOUR_MS / TROUBLE_H, max(self.at_ms - self.since_ms, 0) / HOUR_MS / TROUBLE_H
        still = self.trouble * exp(-elapsed * (elapsed + 2 * lasted))
        often = IN_TROUBLE * self.weight / (self.weight + FAMILIAR_CALLS)
        return still + (1 - still) * often * (1 - exp(-elapsed))

    def _explained(self, surprise: float, weight: float, elapsed_ms: float) -> tuple[float, float, float]:
        """Return how likely such an answer is usual, of a temporary slowdown, or of a permanent change."""
        expected = self._in_trouble(elapsed_ms)
        variance = self.spread * (1 + 1 / (weight + VAGUE_CALLS))
        usual = _likelihood(1 - expected, surprise, variance)
        trouble = _likelihood(expected, surprise - self.slower, variance + SLOWER_SPREAD)
        changed = _likelihood(CHANGES_PER_H * elapsed_ms / HOUR_MS, surprise, variance + CHANGE_SPREAD)
        # The likeliest counts as one, so that none of them gets lost among the very small.
        most = max(usual, trouble, changed)
        odds = exp(usual - most), exp(trouble - most), exp(changed - most)
        total = sum(odds)
        return odds[0] / total, odds[1] / total, odds[2] / total


def better_known(one: Latency, other: Latency) -> Latency:
    """Return the latency of two stores that more calls support."""
    now_ms = max(one.at_ms, other.at_ms)
    return max(one, other, key=lambda latency: latency.evidence(now_ms, 1)[0])


def first(seconds: float, at_ms: int) -> Latency:
    """Return the estimate after a first call."""
    return Latency(1.0, log(seconds), at_ms, since_ms=at_ms)


def faded(elapsed_ms: float, half_life_ms: float) -> float:
    """Return the remaining share of a decayed count; a clock that jumped back counts as standing still."""
    return exp(-log(2) * max(elapsed_ms, 0) / half_life_ms)


def _likelihood(prior: float, off: float, variance: float) -> float:
    """Return the logarithm of a prior chance times a normal density, but for a constant."""
    return log(max(prior, TINY)) - off**2 / (2 * variance) - log(variance) / 2
