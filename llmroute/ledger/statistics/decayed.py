"""Decayed counts: reliability, output lengths and verdicts of checks.

Times are UTC milliseconds; a clock that jumps back counts as one that stands still.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from llmroute.circuits import HOUR_MS
from llmroute.ledger.statistics.latency import faded
from llmroute.ledger.statistics.values import RELIABILITY_HALF_LIFE_MS

OUTPUT_LENGTH_HALF_LIFE_MS = 30 * 24 * HOUR_MS
CHECK_HALF_LIFE_MS = 90 * 24 * HOUR_MS


class ModelKey(NamedTuple):
    """A model."""

    provider: str
    model: str


class LengthKey(NamedTuple):
    """A model at an effort, and a task; an empty task is none."""

    provider: str
    model: str
    effort: str
    task: str


class TaskKey(NamedTuple):
    """A model and a task; an empty task is none."""

    provider: str
    model: str
    task: str


class Reliability(NamedTuple):
    """How many calls succeeded, and how many there were, as of `at_ms`."""

    ok: float
    calls: float
    at_ms: int


class OutputLengths(NamedTuple):
    """How many complete answers there were, and their tokens together, as of `at_ms`."""

    answers: float
    tokens: float
    at_ms: int


class CheckCounts(NamedTuple):
    """How many answers passed a check, and how many were checked, as of `at_ms`."""

    passed: float
    checked: float
    at_ms: int


class CachedInput(NamedTuple):
    """How many input tokens there were, and how many of them were read from prompt caches, as of `at_ms`."""

    tokens: float
    cached: float
    at_ms: int


Counts = TypeVar("Counts", Reliability, OutputLengths, CheckCounts, CachedInput)
_HALF_LIVES_MS: dict[type, int] = {
    Reliability: RELIABILITY_HALF_LIFE_MS,
    OutputLengths: OUTPUT_LENGTH_HALF_LIFE_MS,
    CheckCounts: CHECK_HALF_LIFE_MS,
    CachedInput: OUTPUT_LENGTH_HALF_LIFE_MS,
}


def decayed(counts: Counts, now_ms: int) -> tuple[float, float]:
    """Return both counts as of now."""
    share = faded(now_ms - counts.at_ms, _HALF_LIVES_MS[type(counts)])
    return counts[0] * share, counts[1] * share


def joined(counts: Counts, first: float, second: float, at_ms: int) -> Counts:
    """Return both counts with more of each, as of `at_ms`."""
    before, before_second = decayed(counts, at_ms)
    return type(counts)(before + first, before_second + second, at_ms)


def added(one: Counts, other: Counts) -> Counts:
    """Return the counts of two stores together, as of the later one."""
    at_ms = max(one.at_ms, other.at_ms)
    return joined(one, *decayed(other, at_ms), at_ms)


class ProviderKey(NamedTuple):
    """A provider."""

    provider: str
