"""The most that a call can cost, and the longest answer that fits what is left of a budget.  Pure."""

from __future__ import annotations

from typing import NamedTuple

# Below this an answer is not worth its prompt.
LEAST_ANSWER_TOKENS = 16
# Under a budget, the longest answer of a call whose caller has not said one: each call reserves what it may cost, and
# the whole output of a large model would keep others out.
BUDGETED_ANSWER_TOKENS = 32_000


class WorstCase(NamedTuple):
    """Integer pico-USD.  The answer may be cut down from `most_tokens` to `least_tokens`, where they differ."""

    prompt_picousd: int
    token_picousd: int
    most_tokens: int
    least_tokens: int

    @property
    def least_picousd(self) -> int:
        """The worst case of the shortest answer."""
        return self.prompt_picousd + self.least_tokens * self.token_picousd

    def tokens_within(self, headroom_picousd: int) -> int | None:
        """Return the longest answer whose worst case fits, None where not even the shortest does."""
        if self.least_picousd > headroom_picousd:
            return None
        if self.token_picousd == 0:
            return self.most_tokens
        return min(self.most_tokens, (headroom_picousd - self.prompt_picousd) // self.token_picousd)

    def picousd(self, tokens: int) -> int:
        """Return the worst case of an answer of so many tokens."""
        return self.prompt_picousd + tokens * self.token_picousd


def longest_answer(max_output: int | None, window: int | None, worst_input: int, expected_input: int) -> int:
    """Return the longest answer to let a model give under a budget, when its caller has not said one."""
    longest = min(max_output or BUDGETED_ANSWER_TOKENS, BUDGETED_ANSWER_TOKENS)
    if window is not None:
        # A provider refuses a limit that goes beyond the window, and the prompt's bound in bytes is far above its size.
        longest = min(longest, max(window - worst_input, (window - expected_input) // 2))
    return max(longest, LEAST_ANSWER_TOKENS)
