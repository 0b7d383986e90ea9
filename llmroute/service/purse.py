"""What one request may spend, all its attempts together, and how an attempt is made to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError
from llmroute.ledger.budgets import dollars

if TYPE_CHECKING:
    from llmroute.ledger.rows import AttemptRow
    from llmroute.routing.worst import WorstCase

# More than any budget: what a candidate without a price is refused with, so that any priced one may follow.
ANY_PRICE = 10**30


class Purse:
    """What is left for the request in pico-USD, None when nobody has bounded it."""

    def __init__(self, left_picousd: int | None = None) -> None:
        self.left_picousd = left_picousd

    def pay(self, row: AttemptRow) -> None:
        """Take out what an attempt came to; one whose cost nobody knows has cost its worst."""
        if self.left_picousd is not None:
            cost = row.reserved_picousd if row.cost_picousd is None else row.cost_picousd
            self.left_picousd -= cost or 0


class Fitting:
    """One attempt as a budget cuts it down: `max_tokens` is what its model is told, None for what was asked."""

    def __init__(self, model: str, worst: WorstCase | None, purse: Purse) -> None:
        self._model = model
        self._worst = worst
        self._left = purse.left_picousd
        self.max_tokens: int | None = None

    def fit(self, headroom_picousd: int | None) -> int | None:
        """Return the worst case of the longest answer that fits, None when none does.

        Raises:
            BudgetExceededError: the price is unknown, or what the request may spend is too little.
        """
        worst, left = self._worst, self._left
        if worst is None:
            refusal = BudgetExceededError(f"{self._model}: its price is unknown, and a budget binds")
            refusal.headroom_picousd = ANY_PRICE
            raise refusal
        if left is not None and worst.tokens_within(left) is None:
            refusal = BudgetExceededError(
                f"{self._model}: it could cost {dollars(worst.least_picousd)}, and the request may cost {dollars(left)}"
            )
            refusal.headroom_picousd = left
            raise refusal
        tokens = worst.tokens_within(min(limit for limit in (left, headroom_picousd, ANY_PRICE) if limit is not None))
        if tokens is None:
            return None
        self.max_tokens = tokens if worst.token_picousd else None
        return worst.picousd(tokens)

    def refused(self, refusal: BudgetExceededError) -> BudgetExceededError:
        """Say what the attempt could have cost in front of how a cap stands."""
        if self._worst is not None and not refusal.message.startswith(self._model):
            told = BudgetExceededError(
                f"{self._model}: it could cost {dollars(self._worst.least_picousd)}, and {refusal.message}",
                hint=refusal.hint,
            )
            told.headroom_picousd = refusal.headroom_picousd
            return told
        return refusal
