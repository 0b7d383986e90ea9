"""The chance that an answer passes the caller's check: from its model's quality, corrected by earlier verdicts.  Pure.

With n verdicts on a model's answers to a task, k of them positive, and a prior q of weight w (in answers):

    p = (k + w q) / (n + w)

The prior is the chance that the model's quality gives, shifted in the log-odds by how hard the task has been for all
models of the ledger together.  The weight is a judgement.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PRIOR_ANSWERS: Final = 20.0
LEAST_PASSING: Final = 0.2
"""A model with a smaller share of passing answers is asked after all others."""
_LEAST: Final = 1e-6


class CheckResults(NamedTuple):
    """Verdicts on a model's answers to one task (faded ones count less than one), and the difficulty of the task.

    `difficulty` is added to the log-odds of the prior; below zero, answers have passed less often than expected.
    """

    passed: float = 0.0
    checked: float = 0.0
    difficulty: float = 0.0


def chance_to_pass(prior: float, results: CheckResults) -> float:
    """Return the chance that an answer passes; `prior` is the chance that the model's quality gives."""
    shifted = _chance(_log_odds(prior) + results.difficulty)
    return (results.passed + PRIOR_ANSWERS * shifted) / (results.checked + PRIOR_ANSWERS)


def difficulty(observed: Iterable[tuple[float, CheckResults]]) -> float:
    """Return how hard a task has been, from the priors of all checked models and their results."""
    passed = checked = expected = 0.0
    for prior, results in observed:
        passed += results.passed
        checked += results.checked
        expected += prior * results.checked
    if checked <= 0:
        return 0.0
    mean = expected / checked
    return _log_odds((passed + PRIOR_ANSWERS * mean) / (checked + PRIOR_ANSWERS)) - _log_odds(mean)


def rarely_passes(results: CheckResults) -> bool:
    """Whether a model's answers have been checked and hardly ever pass."""
    return (results.passed + 1) / (results.checked + 2) < LEAST_PASSING


def _chance(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))


def _log_odds(chance: float) -> float:
    bounded = min(max(chance, _LEAST), 1 - _LEAST)
    return log(bounded / (1 - bounded))
