"""Estimate the latency of the next call from those of earlier calls.  Pure.

With n calls of a usual level m and variance v (in natural logarithms of seconds; `ledger.statistics.latency`), the last
of them a hours ago, a chance q that it is in trouble, which makes it e^d times slower, the prior p, and c calls an hour
of all models:

    w = n + 0.05
    mean = (n (m + v / 2) + 0.05 ln p) / w + ln(1 + q (e^d - 1))
    estimate = exp(mean - sqrt(v / w) - min(ln(1 + c a^2 (0.0007 + 0.0015 q)), ln 8))

m + v / 2 is the mean of a log-normal distribution, and what trouble adds is the mean over being in it and not.  The
first that is taken off is a lower confidence bound, so that what is hardly known gets tried; the second is what another
look is worth: what may have been missed meanwhile grows with the square of the time, the look costs one call among
many, and the trouble may be over.
"""

from __future__ import annotations

from math import exp, expm1, log, log1p, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PRIOR_WEIGHT = 0.05
CONFIDENCE = 1.0
UNSEEN_SPREAD = 0.2
# The variance of the error of a class's speed: a factor of 1.35, measured on 26 models.
PRIOR_SPREAD = log(1.35) ** 2
# The value of another call, by hours squared and calls an hour; it grows with the chance of a slowdown.
LOOK = 0.0007
LOOK_IN_TROUBLE = 0.0015
MOST_WORTH = log(8)
# A model that has not been called succeeds 95 times in 100.
PRIOR_OK = 9.5
PRIOR_CALLS = 10.0
BUCKET_LIMITS = (1_000, 4_000, 16_000)


class Evidence(NamedTuple):
    """The observations of one model as of now, in natural logarithms of seconds.

    `spread` is a variance, `trouble` how likely it is in trouble now, and `slower` what that adds.
    """

    weight: float = 0.0
    level: float = 0.0
    spread: float = UNSEEN_SPREAD
    trouble: float = 0.0
    slower: float = 0.0
    unseen_h: float = 0.0


def bucket(input_tokens: int) -> int:
    """Return the prompt-size bucket, 0 to 3: a long prompt takes longer to its first token than a short one."""
    return sum(input_tokens > limit for limit in BUCKET_LIMITS)


def estimate(evidence: Evidence, prior: float, calls_per_h: float) -> float:
    """Return the estimate, in the unit of `prior`: less than the mean, the more so the less is known today."""
    known, level, spread, trouble, slower, unseen_h = evidence
    weight = known + PRIOR_WEIGHT
    mean = (known * (level + spread / 2) + PRIOR_WEIGHT * log(prior)) / weight + log1p(trouble * expm1(slower))
    doubt = CONFIDENCE * sqrt(spread / weight)
    worth = log1p(calls_per_h * unseen_h**2 * (LOOK + LOOK_IN_TROUBLE * trouble))
    return exp(mean - doubt - min(worth, MOST_WORTH))


def never_called(prior: float) -> float:
    """Return the estimate for a model that was never called: the prior, less one standard deviation of its error."""
    return prior * exp(-CONFIDENCE * sqrt(PRIOR_SPREAD))


def provider_factor(observed: Iterable[tuple[Evidence, float]]) -> float:
    """Return the factor between the speed of a provider's models and that of their classes; 1 while none was called.

    `observed` has the evidence of each model that was called, and the prior of its class.  The factor is the
    geometric mean of their quotients and of one of 1, each model weighted by n / (n + 1) of its n calls.
    """
    logarithms, weights = 0.0, 0.0
    for evidence, prior in observed:
        weight = evidence.weight / (evidence.weight + 1)
        logarithms += weight * (evidence.level + evidence.spread / 2 - log(prior))
        weights += weight
    return exp(logarithms / (weights + 1))


def success_probability(ok: float, calls: float) -> float:
    """Return how likely a call is to succeed, from decayed counts."""
    return (ok + PRIOR_OK) / (calls + PRIOR_CALLS)
