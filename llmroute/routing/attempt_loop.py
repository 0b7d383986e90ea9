"""The attempt loop: retry, fall back or stop, as a generator of actions without I/O and without a clock."""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from llmroute.errors import (
    AttemptError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineError,
    IncompleteAnswerError,
    ProviderTimeoutError,
    RejectedError,
    SchemaError,
)
from llmroute.routing.actions import Failure, MoreCandidates, Outcome, Policy, Repair, Try, Wait
from llmroute.routing.fallback import RULES, may_follow, pause_before_retry
from llmroute.routing.parameters import Adaptation
from llmroute.routing.plan import RankedCandidate

# With less time left than this, in seconds and as a part of the deadline, no attempt is made.
LEAST_S = 0.05
LEAST_PART = 0.05


class _Turn(NamedTuple):
    """The next call: its candidate, the pause before it, and the earlier failure of that candidate.

    `calls` is the number of this call among those of the candidate, from 1.  `retry` says that the call before was the
    same one; that of a repair may be retried as any other.
    """

    entry: RankedCandidate
    pause_s: float = 0.0
    failed_before: AttemptError | None = None
    adaptation: Adaptation | None = None
    repair: Repair | None = None
    calls: int = 1
    retry: bool = False

    @property
    def may_be_retried(self) -> bool:
        """Whether the same call may be made again."""
        return self.failed_before is None or (self.repair is not None and not self.retry)

    def after(self, error: AttemptError) -> "_Turn":
        """Return the next call of the candidate, to be changed."""
        return self._replace(failed_before=error, calls=self.calls + 1, pause_s=0.0)


class _SecondCall(NamedTuple):
    """A call that may be retried, and from when."""

    turn: _Turn
    ready_s: float


class _Queue:
    """The order of calls: every candidate once before any retry, models of failed providers last."""

    def __init__(self, entries: Sequence[RankedCandidate], policy: Policy) -> None:
        self._policy = policy
        self._failed_providers: set[str] = set()
        self._second_calls: list[_SecondCall] = []
        self.fresh = list(entries)

    def join(self, entries: Sequence[RankedCandidate]) -> None:
        """Append candidates."""
        self.fresh += entries

    def after(self, turn: _Turn, outcome: Outcome, *, last: bool) -> _Turn:
        """Return the call after a failed one; with `last` raise its error.

        Raises:
            LLMRouteError: as `attempt_loop`.
        """
        entry, error, policy = turn.entry, outcome.error, self._policy
        if isinstance(error, BudgetExceededError):
            self._keep(lambda other: _fits(other, error))
            if not (policy.cheaper and (self.fresh or self._second_calls)):
                raise error
            return self._next(outcome.elapsed_s, error)
        assert error is not None
        if outcome.shown:
            raise IncompleteAnswerError(f"{entry.model.name}: the answer broke off: {error.message}") from error
        if policy.deadline_s - outcome.elapsed_s < min(LEAST_S, LEAST_PART * policy.deadline_s):
            raise _deadline(policy, entry, error) from error
        if last:
            raise error
        rule = RULES[type(error)]
        if turn.failed_before is None and rule.again == "adapted" and outcome.adaptation is not None:
            return turn.after(error)._replace(adaptation=outcome.adaptation)
        if rule.again == "repaired" and outcome.repair is not None:
            return turn.after(error)._replace(entry=outcome.repair.entry, repair=outcome.repair, retry=False)
        # The prompt of a repair is not the caller's: others may still take that of the request, and end its answer.
        if not (turn.repair is not None and isinstance(error, BadRequestError | SchemaError)):
            self._keep(lambda other: may_follow(other, entry, error, policy))
        if rule.next == "other provider first":
            self._failed_providers.add(entry.model.provider)
        pause_s = pause_before_retry(error, policy) if turn.may_be_retried and outcome.retry_allowed else None
        if pause_s is not None:
            again = turn.after(error)._replace(retry=True)
            self._second_calls.append(_SecondCall(again, outcome.elapsed_s + pause_s))
        return self._next(outcome.elapsed_s, error)

    def _keep(self, may_follow: Callable[[RankedCandidate], bool]) -> None:
        self.fresh = [entry for entry in self.fresh if may_follow(entry)]
        self._second_calls = [second for second in self._second_calls if may_follow(second.turn.entry)]

    def _next(self, elapsed_s: float, error: AttemptError | BudgetExceededError) -> _Turn:
        if self.fresh:
            healthy = (one for one in self.fresh if one.model.provider not in self._failed_providers)
            entry = next(healthy, self.fresh[0])
            self.fresh.remove(entry)
            return _Turn(entry)
        in_time = [second for second in self._second_calls if second.ready_s < self._policy.deadline_s]
        if not in_time:
            raise error
        soonest = min(in_time, key=lambda second: second.ready_s)
        self._second_calls.remove(soonest)
        return soonest.turn._replace(pause_s=max(soonest.ready_s - elapsed_s, 0.0))


def attempt_loop(
    entries: Sequence[RankedCandidate], policy: Policy, *, others: bool = False
) -> Generator[Try | Wait | MoreCandidates, Outcome, None]:
    """Yield the next action until a candidate has answered.

    With `others` the first failure yields `MoreCandidates`; until then further candidates are assumed.

    Raises:
        AttemptError: no candidate is left; the last failure.
        IncompleteAnswerError: an answer broke off after part of it was streamed to the caller.
        DeadlineError: the deadline of the request has passed.
        BudgetExceededError: no remaining candidate has a worst case within the budget.
    """
    queue = _Queue(entries, policy)
    turn, failure, number, rejected = _Turn(queue.fresh.pop(0)), None, 0, 0
    while True:
        if turn.pause_s > 0:
            assert turn.failed_before is not None
            yield Wait(turn.pause_s, turn.entry, turn.failed_before)
        alone = not (queue.fresh or others) or number - rejected + 1 == policy.max_attempts
        fell_from = failure if failure is not None and failure.entry.model is not turn.entry.model else None
        outcome = yield Try(turn.entry, number + 1, fell_from, alone, turn.retry, turn.adaptation, turn.repair)
        if (error := outcome.error) is None:
            return
        # A request that was not sent does not count as an attempt.
        number += not isinstance(error, BudgetExceededError | CircuitOpenError)
        rejected += isinstance(error, RejectedError)
        if others and not outcome.shown:
            others = False
            found = yield MoreCandidates()
            outcome = outcome._replace(elapsed_s=found.elapsed_s)
            queue.join(found.entries)
        failure = Failure(turn.entry, error, turn.calls)
        last = number - rejected == policy.max_attempts or rejected == policy.max_rejections
        turn = queue.after(turn, outcome, last=last)


def _fits(other: RankedCandidate, refused: BudgetExceededError) -> bool:
    """Return whether the worst case of a candidate is within the budget that another exceeded."""
    least, headroom = other.candidate.least_worst_picousd, refused.headroom_picousd
    return least is not None and headroom is not None and least <= headroom


def _deadline(policy: Policy, entry: RankedCandidate, error: AttemptError) -> DeadlineError:
    from llmroute.text.option_text import OptionText, Remedy

    # A timeout caused by the deadline itself is not a failure of the provider.
    cut_short = isinstance(error, ProviderTimeoutError)
    last = f"{entry.model.name} had not answered" if cut_short else f"last: {error.message}"
    return DeadlineError(
        f"no answer within {policy.deadline_s:g} s; {last}",
        hint=OptionText("allow more with ", Remedy("timeout_s")),
        option="timeout_s",
    )
