"""Decayed counts: reliability, output lengths, verdicts of checks and retry tokens.

Times are UTC milliseconds; a clock that jumps back counts as one that stands still.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from llmroute.circuits import HOUR_MS
from llmroute.ledger.statistics.latency import faded
from llmroute.ledger.stats import RELIABILITY_HALF_LIFE_MS

OUTPUT_LENGTH_HALF_LIFE_MS = 30 * 24 * HOUR_MS
CHECK_HALF_LIFE_MS = 90 * 24 * HOUR_MS

RETRY_TOKENS = 20.0
TOKENS_PER_SUCCESS = 0.2
TOKENS_PER_MS = 1 / 60_000


class Reliability(NamedTuple):
    """How many calls succeeded, and how many there were, as of `at_ms`."""

    ok: float
    calls: float
    at_ms: int

    def joined(self, at_ms: int, *, succeeded: bool) -> Reliability:
        """Return the counts after one more call."""
        ok, calls = self.decayed(at_ms)
        return Reliability(ok + succeeded, calls + 1, at_ms)

    def decayed(self, now_ms: int) -> tuple[float, float]:
        """Return both counts as of now."""
        share = faded(now_ms - self.at_ms, RELIABILITY_HALF_LIFE_MS)
        return self.ok * share, self.calls * share


class OutputLengths(NamedTuple):
    """How many complete answers there were, and their tokens together, as of `at_ms`."""

    answers: float
    tokens: float
    at_ms: int

    def joined(self, tokens: int, at_ms: int) -> OutputLengths:
        """Return the counts after one more answer."""
        answers, total = self.decayed(at_ms)
        return OutputLengths(answers + 1, total + tokens, at_ms)

    def decayed(self, now_ms: int) -> tuple[float, float]:
        """Return both sums as of now."""
        factor = faded(now_ms - self.at_ms, OUTPUT_LENGTH_HALF_LIFE_MS)
        return self.answers * factor, self.tokens * factor


class CheckCounts(NamedTuple):
    """How many answers passed a check, and how many were checked, as of `at_ms`."""

    passed: float
    checked: float
    at_ms: int

    def joined(self, at_ms: int, *, passed: bool) -> CheckCounts:
        """Return the counts after one more verdict."""
        before, checked = self.decayed(at_ms)
        return CheckCounts(before + passed, checked + 1, max(self.at_ms, at_ms))

    def decayed(self, now_ms: int) -> tuple[float, float]:
        """Return both counts as of now."""
        share = faded(now_ms - self.at_ms, CHECK_HALF_LIFE_MS)
        return self.passed * share, self.checked * share


class CachedInput(NamedTuple):
    """How many input tokens there were, and how many of them were read from prompt caches, as of `at_ms`."""

    tokens: float
    cached: float
    at_ms: int

    def joined(self, tokens: int, cached: int, at_ms: int) -> CachedInput:
        """Return the counts after one more answer."""
        before, cached_before = self.decayed(at_ms)
        return CachedInput(before + tokens, cached_before + min(cached, tokens), at_ms)

    def decayed(self, now_ms: int) -> tuple[float, float]:
        """Return both sums as of now."""
        factor = faded(now_ms - self.at_ms, OUTPUT_LENGTH_HALF_LIFE_MS)
        return self.tokens * factor, self.cached * factor


Counts = TypeVar("Counts", Reliability, OutputLengths, CheckCounts, CachedInput)


def added(one: Counts, other: Counts) -> Counts:
    """Return the counts of two stores together, as of the later one."""
    at_ms = max(one.at_ms, other.at_ms)
    (first, second), (more_first, more_second) = one.decayed(at_ms), other.decayed(at_ms)
    return type(one)(first + more_first, second + more_second, at_ms)


class RetryTokens(NamedTuple):
    """How many retries of a provider were left at `at_ms`."""

    tokens: float
    at_ms: int

    def left(self, now_ms: int) -> float:
        """Return how many are left now."""
        return min(RETRY_TOKENS, self.tokens + max(now_ms - self.at_ms, 0) * TOKENS_PER_MS)

    def after_retry(self, now_ms: int) -> RetryTokens:
        """Return what is left after one retry."""
        return RetryTokens(max(self.left(now_ms) - 1, 0.0), now_ms)

    def after_successes(self, count: int, now_ms: int) -> RetryTokens:
        """Return what is left after so many successful calls; itself where none is missing."""
        left = self.left(now_ms)
        if left >= RETRY_TOKENS:
            return self
        return RetryTokens(min(left + TOKENS_PER_SUCCESS * count, RETRY_TOKENS), now_ms)


UNUSED_RETRIES = RetryTokens(RETRY_TOKENS, 0)
"""Of a provider without a stored state."""
