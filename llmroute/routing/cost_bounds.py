"""The longest completion to request under a budget when the caller sets no limit."""

from __future__ import annotations

# Below this an answer is not worth its prompt.
LEAST_ANSWER_TOKENS = 16
# Under a budget, the longest answer of a call whose caller has not said one: each call reserves what it may cost, and
# the whole output of a large model would keep others out.
BUDGETED_ANSWER_TOKENS = 32_000


def longest_answer(max_output: int | None, window: int | None, worst_input: int, expected_input: int) -> int:
    """Return the longest answer to let a model give under a budget, when its caller has not said one."""
    longest = min(max_output or BUDGETED_ANSWER_TOKENS, BUDGETED_ANSWER_TOKENS)
    if window is not None:
        # A provider refuses a limit that goes beyond the window, and the prompt's bound in bytes is far above its size.
        longest = min(longest, max(window - worst_input, (window - expected_input) // 2))
    return max(longest, LEAST_ANSWER_TOKENS)
