"""The longest completion to request under a budget when the caller sets no limit."""

from __future__ import annotations

# The shortest completion worth requesting.
LEAST_ANSWER_TOKENS = 16
# The longest completion under a budget if the caller sets no limit: each call reserves its worst case, and the full
# output of a large model would block concurrent requests.
BUDGETED_ANSWER_TOKENS = 32_000


def longest_answer(max_output: int | None, window: int | None, worst_input: int, expected_input: int) -> int:
    """Return the completion limit to request under a budget, in tokens."""
    longest = min(max_output or BUDGETED_ANSWER_TOKENS, BUDGETED_ANSWER_TOKENS)
    if window is not None:
        # Providers reject a limit beyond the context window; the upper bound of the prompt is far above its size.
        longest = min(longest, max(window - worst_input, (window - expected_input) // 2))
    return max(longest, LEAST_ANSWER_TOKENS)
