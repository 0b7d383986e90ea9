"""What calls have taken: a level, how far answers scatter around it, and trouble on top of it that passes.

In natural logarithms of seconds, with a level m that rests on n calls, a variance v and trouble d, and an answer x that
comes a hours after the one before:

    n <- n 2^(-a / 8)           what is known fades
    d <- d e^(-a / 2.5)         trouble passes
    r  = x - m - d              what was not expected
    o  = 0.08 a e^(0.4 r^2 / v),  g = o / (1 + o)
    d <- d + g r                below zero it is no trouble: then m <- m + d, n <- (1 - g) n, d <- 0
    n <- min(n + 1, 30)
    m <- m + (1 - g) s / n      with s = r above m + d, x - m below m, and 0 between
    v <- v + (1 - g) (min(r^2, 9 v) - v) / (n + 5), from 0.04 to 4

g is how likely it is that something has changed: the odds grow with the time since the last answer, and with how
unlikely such an answer would be if nothing had.  So a model that is well known is left after one bad answer, or after a
few that come close upon each other, and what was known of it holds again when the trouble is over.
Source: Hamilton's filter of a process that changes its regime (Econometrica 57, 1989), with the trouble kept as one
fading mean; the constants were fitted on random worlds that `tests/bench/latency.py` does not use.
"""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

HOUR_MS = 3_600_000
HALF_LIFE_MS = 8 * HOUR_MS
TROUBLE_MS = 2.5 * HOUR_MS
# Answers at once, or of a clock that jumped back, say as much of a change as answers half a minute apart.
LEAST_APART_H = 1 / 120
CHANGES_PER_H = 0.08
SURPRISE = 0.4
MOST_SURPRISING = 40.0
MOST_CALLS = 30.0
# How far answers scatter, as a variance, before that was seen; it counts as five calls.
TYPICAL_SPREAD = 0.3
SPREAD_CALLS = 5.0
LEAST_SPREAD = 0.04
MOST_SPREAD = 4.0
OUTLIER = 9.0
# From here on, the more models there are to keep an eye on, the longer each is left.
FEW_MODELS = 5


class Latency(NamedTuple):
    """What is known of one model's seconds.

    `weight` is how many calls the level rests on at `at_ms`, `log_sum` that times the level.
    """

    weight: float
    log_sum: float
    at_ms: int
    spread: float = TYPICAL_SPREAD
    trouble: float = 0.0

    @property
    def level(self) -> float:
        """The logarithm of what is usual."""
        return self.log_sum / self.weight

    def typical(self) -> float:
        """Return the mean of what is usual, in seconds, however long ago: that of a log-normal distribution."""
        return exp(self.level + self.spread / 2)

    def evidence(self, now_ms: int, models: int) -> tuple[float, float, float, float, float]:
        """Return weight, level, spread and trouble as they are now, and hours since the last call.

        `models` is how many are known: beyond a few, time passes more slowly for what is not being called.
        """
        elapsed_ms = max(now_ms - self.at_ms, 0)
        unseen_ms = elapsed_ms / max(models / FEW_MODELS, 1)
        weight = self.weight * faded(unseen_ms, HALF_LIFE_MS)
        trouble = self.trouble * exp(-elapsed_ms / TROUBLE_MS)
        return weight, self.level, self.spread, trouble, unseen_ms / HOUR_MS

    def joined(self, seconds: float, at_ms: int) -> Latency:
        """Return what is known after one more call."""
        elapsed_ms = max(at_ms - self.at_ms, 0)
        weight = self.weight * faded(elapsed_ms, HALF_LIFE_MS)
        trouble = self.trouble * exp(-elapsed_ms / TROUBLE_MS)
        above = log(seconds) - self.level
        surprise = above - trouble
        changed = _changed(surprise**2 / self.spread, elapsed_ms)
        trouble += changed * surprise
        level = self.level
        if trouble < 0:
            level, weight, trouble = level + trouble, weight * (1 - changed), 0.0
        weight = min(weight + 1, MOST_CALLS)
        level += (1 - changed) * (surprise if surprise > 0 else min(above, 0.0)) / weight
        scatter = min(surprise**2, OUTLIER * self.spread)
        spread = self.spread + (1 - changed) * (scatter - self.spread) / (weight + SPREAD_CALLS)
        spread = min(max(spread, LEAST_SPREAD), MOST_SPREAD)
        return Latency(weight, weight * level, at_ms, spread, trouble)


def first(seconds: float, at_ms: int) -> Latency:
    """Return what is known after a first call."""
    return Latency(1.0, log(seconds), at_ms)


def faded(elapsed_ms: float, half_life_ms: float) -> float:
    """Return what is left of one after a while; a clock that jumped back stood still."""
    return exp(-log(2) * max(elapsed_ms, 0) / half_life_ms)


def _changed(surprise: float, elapsed_ms: int) -> float:
    """Return how likely it is that something has changed, given the square of the surprise in units of the spread."""
    apart_h = max(elapsed_ms / HOUR_MS, LEAST_APART_H)
    odds = CHANGES_PER_H * apart_h * exp(SURPRISE * min(surprise, MOST_SURPRISING))
    return odds / (1 + odds)
