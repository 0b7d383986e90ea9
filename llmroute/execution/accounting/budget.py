"""What one request may spend, all its attempts together, and how an attempt is made to fit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError
from llmroute.ledger.sqlite.budgets import dollars

if TYPE_CHECKING:
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.routing.cost_bounds import WorstCase

# More than any budget: what a candidate without a price is refused with, so that any priced one may follow.
ANY_PRICE = 10**30


class SharedBudget:
    """What many requests may spend together, in pico-USD; attempts under way hold what they may still cost."""

    def __init__(self, left_picousd: int) -> None:
        self._left_picousd = left_picousd
        self._held_picousd = 0
        # Attempts that wait for a locked ledger are admitted in a thread.
        self._lock = threading.Lock()

    @property
    def headroom_picousd(self) -> int:
        """What the next attempt may cost."""
        return self._left_picousd - self._held_picousd

    def hold(self, picousd: int) -> None:
        """Hold the worst case of an attempt that begins."""
        with self._lock:
            self._held_picousd += picousd

    def let_go(self, picousd: int) -> None:
        """Let go of what was held for an attempt that has not begun."""
        self.hold(-picousd)

    def pay(self, row: AttemptRow) -> None:
        """Take out what an attempt came to, in place of what was held for it."""
        with self._lock:
            self._held_picousd -= row.reserved_picousd or 0
            self._left_picousd -= _came_to(row)


class RequestBudget:
    """What is left for one request in pico-USD, None when nobody has bounded it; `pot` is shared with others."""

    def __init__(self, left_picousd: int | None = None, pot: SharedBudget | None = None) -> None:
        self.left_picousd = left_picousd
        self.pot = pot

    @property
    def bounded(self) -> bool:
        """Whether anything bounds the request, beside the caps of every call."""
        return self.left_picousd is not None or self.pot is not None

    def pay(self, row: AttemptRow) -> None:
        """Take out what an attempt came to; one whose cost nobody knows has cost its worst."""
        if self.left_picousd is not None:
            self.left_picousd -= _came_to(row)


def _came_to(row: AttemptRow) -> int:
    return (row.reserved_picousd if row.cost_picousd is None else row.cost_picousd) or 0


class Reservation:
    """One attempt as a budget cuts it down: `max_tokens` is what its model is told, None for what was asked.

    With `whole` the answer is not cut down because of what others hold.
    """

    def __init__(self, model: str, worst: WorstCase | None, purse: RequestBudget, *, whole: bool = False) -> None:
        self._model = model
        self._worst = worst
        self._purse = purse
        self._whole = whole
        self._held_picousd = 0
        self.max_tokens: int | None = None

    def fit(self, headroom_picousd: int | None) -> int | None:
        """Return the worst case of the longest answer that fits, None when none does.

        Raises:
            BudgetExceededError: the price is unknown, or what the request may spend is too little.
        """
        worst, left, pot = self._worst, self._purse.left_picousd, self._purse.pot
        if worst is None:
            raise _refusal(f"{self._model}: its price is unknown, and a budget binds", ANY_PRICE, of_request=True)
        could = f"{self._model}: it could cost {dollars(worst.least_picousd)}"
        wanted = worst.most_tokens if left is None else worst.tokens_within(left)
        if left is not None and wanted is None:
            raise _refusal(f"{could}, and the request may cost {dollars(left)}", left, of_request=True)
        shared = [limit for limit in (headroom_picousd, pot.headroom_picousd if pot else None) if limit is not None]
        tokens = worst.tokens_within(min([*shared, ANY_PRICE] if left is None else [*shared, left]))
        if pot is not None and (tokens is None or (self._whole and tokens < (wanted or 0))):
            raise _refusal(f"{could}, and {dollars(max(pot.headroom_picousd, 0))} of the budget is left", min(shared))
        if tokens is None or (self._whole and tokens < (wanted or 0)):
            return None
        self.max_tokens = tokens if worst.token_picousd else None
        reserved = worst.picousd(tokens)
        if pot is not None:
            # Asked again, where what was written with it had to be taken back.
            pot.hold(reserved - self._held_picousd)
            self._held_picousd = reserved
        return reserved

    def let_go(self) -> None:
        """Let go of what was held, for the attempt has not begun."""
        if self._purse.pot is not None:
            self._purse.pot.let_go(self._held_picousd)
            self._held_picousd = 0

    def refused(self, refusal: BudgetExceededError) -> BudgetExceededError:
        """Say what the attempt could have cost in front of how a cap stands."""
        if self._worst is not None and not refusal.message.startswith(self._model):
            told = f"{self._model}: it could cost {dollars(self._worst.least_picousd)}, and {refusal.message}"
            return _refusal(told, refusal.headroom_picousd, hint=refusal.hint)
        return refusal


def _refusal(
    told: str, headroom_picousd: int | None, *, hint: str | None = None, of_request: bool = False
) -> BudgetExceededError:
    refusal = BudgetExceededError(told, hint=hint, option="budget_remaining" if of_request else None)
    refusal.headroom_picousd = headroom_picousd
    refusal.of_request = of_request
    return refusal
