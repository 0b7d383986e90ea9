"""The retry budget of a provider: its tokens, which retries spend and successful calls and time restore.

Times are UTC milliseconds; a clock that jumps back counts as one that stands still.
"""

from __future__ import annotations

from typing import NamedTuple

RETRY_TOKENS = 20.0
TOKENS_PER_SUCCESS = 0.2
TOKENS_PER_MS = 1 / 60_000


class RetryTokens(NamedTuple):
    """How many retries of a provider were left at `at_ms`."""

    tokens: float
    at_ms: int

    def left(self, now_ms: int) -> float:
        """Return how many are left now."""
        return min(RETRY_TOKENS, self.tokens + max(now_ms - self.at_ms, 0) * TOKENS_PER_MS)

    def after_retry(self, now_ms: int) -> RetryTokens:
        """Return the tokens after one retry."""
        return RetryTokens(max(self.left(now_ms) - 1, 0.0), now_ms)

    def after_success(self, now_ms: int) -> RetryTokens:
        """Return the tokens after a successful call; unchanged where none is missing."""
        left = self.left(now_ms)
        if left >= RETRY_TOKENS:
            return self
        return RetryTokens(min(left + TOKENS_PER_SUCCESS, RETRY_TOKENS), now_ms)


UNUSED_RETRIES = RetryTokens(RETRY_TOKENS, 0)
"""Of a provider without a stored state."""
