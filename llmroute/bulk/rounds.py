"""The rounds of one of many requests: how many calls each round may make, and which model is called first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from llmroute.bulk.worker_pool import PAUSES_S

if TYPE_CHECKING:
    from llmroute.execution.request import RequestContext
    from llmroute.routing.plan import Plan, RankedCandidate
    from llmroute.types import AttemptRecord

# The first choice, another provider, and a third: the other calls are kept for when an outage has passed.
AT_ONCE = 3


class Rounds:
    """Counts the calls of one request, which all its rounds together make at most as often as one request alone."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._rounds = 0
        self._most = 0

    @property
    def begun(self) -> bool:
        """Whether a call was made."""
        return bool(self._calls)

    @property
    def over(self) -> bool:
        """Whether no call is left."""
        return self._rounds > 0 and self._calls.total() >= self._most

    def limited(self, call: RequestContext, *, listed: bool) -> RequestContext:
        """Return a call for the next round: the model called least comes first, and one call is kept for each later.

        Models that were `listed` one by one are all called before a round ends.
        """
        self._rounds += 1
        self._most = max(self._most, call.max_attempts)
        left = self._most - self._calls.total()
        uncalled = sum(not self._calls[_key(entry)] for entry in call.plan.entries) if listed else 0
        later = len(PAUSES_S) + 1 - self._rounds
        now = max(uncalled, left - later, 1 if self.begun else AT_ONCE)

        def on_attempt(record: AttemptRecord) -> None:
            self._calls[record.provider, record.model] += 1
            call.on_attempt(record)

        return call._replace(
            plan=self._ordered(call.plan) if self.begun else call.plan,
            max_attempts=min(now, left),
            on_attempt=on_attempt,
        )

    def _ordered(self, plan: Plan) -> Plan:
        called = {provider for provider, _ in self._calls}

        def rank(entry: RankedCandidate) -> tuple[int, bool]:
            return self._calls[_key(entry)], entry.model.provider in called

        return plan._replace(entries=tuple(sorted(plan.entries, key=rank)), measure=plan.first_choice)


def _key(entry: RankedCandidate) -> tuple[str, str]:
    return entry.model.provider, entry.model.id
