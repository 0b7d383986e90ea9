"""Rounds of attempts of one request in a batch: how many attempts each may make, and which model comes first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from llmroute.bulk.worker_pool import RETRY_DELAYS_S
from llmroute.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.execution.accounting.budget import RequestBudget
    from llmroute.execution.request import RequestContext
    from llmroute.routing.plan import Plan, RankedCandidate
    from llmroute.types import AttemptRecord

# The first choice and two fallbacks; the other attempts are saved for after an outage.
FIRST_ROUND_ATTEMPTS = 3


class RetryRounds:
    """Counts the attempts of one request: all its rounds together make no more than a single request would.

    `budget` is what all rounds together may spend, None before the first; `on_attempt` receives the record of each
    attempt that has ended.
    """

    def __init__(self, on_attempt: Callable[[AttemptRecord], None]) -> None:
        self._on_attempt = on_attempt
        self.budget: RequestBudget | None = None
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._rejected: set[tuple[str, str]] = set()
        self._rejections = 0
        self._rounds = 0
        self._max_attempts = 0
        self._max_rejections = 0

    @property
    def started(self) -> bool:
        """Whether an attempt was made."""
        return bool(self._attempts or self._rejected)

    @property
    def exhausted(self) -> bool:
        """Whether no attempts are left."""
        return self._rounds > 0 and (
            self._attempts.total() >= self._max_attempts or self._rejections >= self._max_rejections
        )

    def next_round(self, request: RequestContext, *, listed: bool) -> RequestContext:
        """Return the request for its next round: the model with the fewest attempts comes first.

        One attempt is saved for each later round, but every model of a list (`listed`) is tried in the first one.

        Raises:
            TransientError: only models are left whose answers were rejected.
        """
        self._rounds += 1
        policy = request.policy
        self._max_attempts = max(self._max_attempts, policy.max_attempts)
        self._max_rejections = policy.max_rejections
        left = self._max_attempts - self._attempts.total()
        untried = sum(not self._attempts[_key(entry)] for entry in request.plan.entries) if listed else 0
        later_rounds = len(RETRY_DELAYS_S) + 1 - self._rounds
        wanted = max(untried, left - later_rounds, 1 if self.started else FIRST_ROUND_ATTEMPTS)

        def on_attempt(record: AttemptRecord) -> None:
            if record.status == "rejected":
                self._rejections += 1
                self._rejected.add((record.provider, record.model))
            else:
                self._attempts[record.provider, record.model] += 1
            self._on_attempt(record)
            request.on_attempt(record)

        return request._replace(
            plan=self._ordered(request.plan) if self.started else request.plan,
            policy=policy._replace(
                max_attempts=min(wanted, left), max_rejections=policy.max_rejections - self._rejections
            ),
            on_attempt=on_attempt,
        )

    def _ordered(self, plan: Plan) -> Plan:
        tried = {provider for provider, _ in (*self._attempts, *self._rejected)}

        def rank(entry: RankedCandidate) -> tuple[int, bool]:
            return self._attempts[_key(entry)], entry.model.provider in tried

        # A model whose answer was rejected would answer much the same.
        entries = [entry for entry in plan.entries if _key(entry) not in self._rejected]
        if not entries:
            raise TransientError("every other model is skipped for now, and the answers of the rest were rejected")
        return plan._replace(entries=tuple(sorted(entries, key=rank)), measure=plan.first_choice)


def _key(entry: RankedCandidate) -> tuple[str, str]:
    return entry.model.provider, entry.model.id
