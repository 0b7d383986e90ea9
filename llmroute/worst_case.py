"""The upper bound on the cost of an attempt: the amount that a budget reserves before the request is sent."""

# No postponed annotations: see types.
from typing import NamedTuple


class WorstCase(NamedTuple):
    """Upper bound on the cost of an attempt, in integer pico-USD.

    The completion limit may be reduced from `most_tokens` down to `least_tokens` to fit a budget.
    """

    prompt_picousd: int
    token_picousd: int
    most_tokens: int
    least_tokens: int

    @property
    def least_picousd(self) -> int:
        """The worst-case cost with the shortest allowed completion."""
        return self.prompt_picousd + self.least_tokens * self.token_picousd

    def tokens_within(self, headroom_picousd: int) -> int | None:
        """Return the longest completion whose worst case fits, None if not even the shortest does."""
        if self.least_picousd > headroom_picousd:
            return None
        if self.token_picousd == 0:
            return self.most_tokens
        return min(self.most_tokens, (headroom_picousd - self.prompt_picousd) // self.token_picousd)

    def picousd(self, tokens: int) -> int:
        """Return the worst-case cost of a completion of `tokens` tokens."""
        return self.prompt_picousd + tokens * self.token_picousd
