"""The budget of one request with all its attempts, and the reservation of each attempt."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BudgetExceededError
from llmroute.ledger.budgets import dollars
from llmroute.routing.exclusions import beyond_budget
from llmroute.routing.plan import Exclusion

if TYPE_CHECKING:
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.statistics.values import ProbeClaim
    from llmroute.routing.plan import Plan
    from llmroute.worst_case import WorstCase

# The headroom in the refusal of a candidate without a price: above any budget, so that any priced one may follow.
ANY_PRICE = 10**30


class SharedBudget:
    """A budget that many requests share, in pico-USD; attempts in flight hold their worst case."""

    def __init__(self, left_picousd: int) -> None:
        self._left_picousd = left_picousd
        self._held_picousd = 0
        # Attempts that wait for a locked ledger are admitted in a thread.
        self._lock = threading.Lock()

    @property
    def headroom_picousd(self) -> int:
        """The most that the next attempt may cost."""
        return self._left_picousd - self._held_picousd

    def hold_within(self, worst: WorstCase) -> tuple[int | None, int]:
        """Hold the cost of the longest completion that fits; return its tokens, or None, and the headroom before."""
        with self._lock:
            headroom = self.headroom_picousd
            tokens = worst.tokens_within(headroom)
            if tokens is not None:
                self._held_picousd += worst.picousd(tokens)
            return tokens, headroom

    def hold(self, picousd: int) -> None:
        """Hold so much more, or less."""
        with self._lock:
            self._held_picousd += picousd

    def pay(self, row: AttemptRow) -> None:
        """Subtract the cost of an attempt, and release the amount that was held for it."""
        with self._lock:
            self._held_picousd -= row.reserved_picousd or 0
            self._left_picousd -= _came_to(row)

    def exchange(self, held_picousd: int, paid_picousd: int) -> None:
        """Release the amount that is held for several attempts, and subtract their cost."""
        with self._lock:
            self._held_picousd -= held_picousd
            self._left_picousd -= paid_picousd


class RequestBudget:
    """The remaining budget of one request in pico-USD, None without one; `shared` is shared with others."""

    def __init__(self, left_picousd: int | None = None, shared: SharedBudget | None = None) -> None:
        self.left_picousd = left_picousd
        self.shared = shared

    @property
    def bounded(self) -> bool:
        """Whether anything bounds the request, beside the caps of every call."""
        return self.left_picousd is not None or self.shared is not None

    def pay(self, row: AttemptRow) -> None:
        """Subtract the cost of an attempt; an unknown cost counts as its worst case."""
        if self.left_picousd is not None:
            self.left_picousd -= _came_to(row)


def _came_to(row: AttemptRow) -> int:
    return (row.reserved_picousd if row.cost_picousd is None else row.cost_picousd) or 0


class Admission(NamedTuple):
    """The conditions under which an attempt begins: its budget, and its claim to probe half-open circuits.

    A `retry` takes a retry token.  With `whole` the completion limit is not reduced because of what others hold.
    """

    worst: WorstCase | None
    budget: RequestBudget
    prober: ProbeClaim | None = None
    retry: bool = False
    whole: bool = False


class Reservation:
    """The part of an attempt's reservation that its request and its batch pay for; the ledger checks the caps.

    With `whole` the completion limit is not reduced because of what other requests hold.
    """

    def __init__(self, model: str, worst: WorstCase | None, budget: RequestBudget, *, whole: bool = False) -> None:
        self._model = model
        self._worst = worst
        self._budget = budget
        self._whole = whole
        self._held_picousd = 0

    def bounded(self) -> WorstCase:
        """Return the worst case within the request's budget and the shared one, which holds its longest completion.

        Raises:
            BudgetExceededError: the price is unknown, or one of the two budgets is too small.
        """
        worst, left, shared = self._worst, self._budget.left_picousd, self._budget.shared
        if worst is None:
            raise _refusal(f"{self._model}: its price is unknown, and a budget binds", ANY_PRICE, of_request=True)
        could = f"{self._model}: it could cost {dollars(worst.least_picousd)}"
        wanted = worst.tokens_within(ANY_PRICE if left is None else left)
        if wanted is None:
            raise _refusal(f"{could}, and the request may cost {dollars(max(left or 0, 0))}", left, of_request=True)
        worst = worst._replace(most_tokens=wanted, least_tokens=wanted if self._whole else worst.least_tokens)
        if shared is None:
            return worst
        tokens, headroom = shared.hold_within(worst)
        if tokens is None:
            raise _refusal(f"{could}, and {dollars(max(headroom, 0))} of the budget is left", headroom)
        self._held_picousd = worst.picousd(tokens)
        return worst._replace(most_tokens=tokens)

    def admitted(self, reserved_picousd: int) -> int | None:
        """Hold only what the ledger reserved; return the completion limit, None where its length costs nothing."""
        self._hold(reserved_picousd)
        assert self._worst is not None
        prompt, token = self._worst.prompt_picousd, self._worst.token_picousd
        return (reserved_picousd - prompt) // token if token else None

    def release(self) -> None:
        """Release the held amount: the attempt was not admitted."""
        self._hold(0)

    def _hold(self, picousd: int) -> None:
        if self._budget.shared is not None:
            self._budget.shared.hold(picousd - self._held_picousd)
            self._held_picousd = picousd

    def refused(self, refusal: BudgetExceededError) -> BudgetExceededError:
        """Return the refusal of a cap with the model and the cost of its shortest completion."""
        assert self._worst is not None
        message = f"{self._model}: it could cost {dollars(self._worst.least_picousd)}, and {refusal.message}"
        return _refusal(message, refusal.headroom_picousd, hint=refusal.hint)


def affordable(made: Plan, budget_picousd: int, *, cheaper: bool) -> Plan:
    """Return a plan without the models that the budget of its request does not admit.

    Routing checks the models that it chooses, not those that the caller names.

    Raises:
        BudgetExceededError: it admits none of them, or without `cheaper` not the first.
    """
    reasons = [beyond_budget(entry.candidate, budget_picousd) for entry in made.entries]
    admitted = tuple(entry for entry, reason in zip(made.entries, reasons, strict=True) if reason is None)
    if not admitted or (reasons[0] is not None and not cheaper):
        first = made.entries[0]
        Reservation(first.model.name, first.candidate.worst, RequestBudget(budget_picousd)).bounded()
    out = (Exclusion(one.model, why) for one, why in zip(made.entries, reasons, strict=True) if why is not None)
    return made._replace(entries=admitted, excluded=(*out, *made.excluded))


def _refusal(
    explanation: str, headroom_picousd: int | None, *, hint: str | None = None, of_request: bool = False
) -> BudgetExceededError:
    refusal = BudgetExceededError(explanation, hint=hint, option="budget_remaining" if of_request else None)
    refusal.headroom_picousd = headroom_picousd
    refusal.of_request = of_request
    return refusal
