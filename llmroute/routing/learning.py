"""From what calls have taken to what the next one will take.  Pure."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# A prior counts as one observation; the bound is one standard deviation below the mean of logarithms that vary by 0.6.
PRIOR_WEIGHT = 1.0
CONFIDENCE = 1.0
SPREAD = 0.6
# A model that nobody has called succeeds 95 times in 100.
PRIOR_OK = 9.5
PRIOR_CALLS = 10.0
BUCKET_LIMITS = (1_000, 4_000, 16_000)


class Evidence(NamedTuple):
    """A decayed mean of logarithms: how much it weighs today, and the weighted sum."""

    weight: float
    log_sum: float


NOTHING = Evidence(0.0, 0.0)


def bucket(input_tokens: int) -> int:
    """Return the prompt-size bucket, 0 to 3: a long prompt takes longer to its first token than a short one."""
    return sum(input_tokens > limit for limit in BUCKET_LIMITS)


def estimate(evidence: Evidence, prior: float) -> float:
    """Return what to expect, in the unit of `prior`: a lower confidence bound, so that what is unknown gets tried."""
    weight = evidence.weight + PRIOR_WEIGHT
    return exp((evidence.log_sum + PRIOR_WEIGHT * log(prior)) / weight - CONFIDENCE * SPREAD / sqrt(weight))


def prior_of(known: Sequence[float]) -> float | None:
    """Return the lower median of what is known of all models, None while nothing is."""
    return sorted(known)[(len(known) - 1) // 2] if known else None


def success_probability(ok: float, calls: float) -> float:
    """Return how likely a call is to succeed, from decayed counts."""
    return (ok + PRIOR_OK) / (calls + PRIOR_CALLS)
