"""The attempt loop: retry, fall back, stop.  A generator that yields actions; no I/O, no clock of its own."""

from collections.abc import Callable, Generator, Sequence
from typing import Literal, NamedTuple

from llmroute.circuits import FOR_GOOD_MS, HOUR_MS, MINUTE_MS, SECOND_MS, BreakerRule, TripReason
from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ContentError,
    ContextLengthError,
    DeadlineError,
    IncompleteAnswerError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    TransientError,
    UnreachableError,
)
from llmroute.routing.actions import Failure, MoreCandidates, Outcome, Policy, Try, Wait
from llmroute.routing.parameters import Adaptation, takes
from llmroute.routing.plan import RankedCandidate

# How long to wait for an endpoint that is overloaded and does not say when to ask again.
SOON_S = 1.0
RETRY_PAUSE_S = 0.5
JITTER = 0.2
# With less time left than this no call is worth making.
LEAST_S = 0.05
LEAST_PART = 0.05

Again = Literal["never", "once", "when told", "when broken off", "adapted"]
Next = Literal[
    "any", "other provider first", "other provider", "larger window", "that takes it", "when allowed", "never"
]


class FailureRule(NamedTuple):
    """What one class of failure leads to.  The exit code of each is that of its class in `errors`.

    Attributes:
        again: whether the same endpoint is called once more, when every other candidate has been called.
        next: which candidates may follow; "other provider first" puts the models of the provider that failed behind
            those of all others.
        trip: the circuit it opens, and for how long; None opens none.
        unreliable: whether it counts against the model's reliability; else it says something of the request or the key.
        slow: whether the model counts as having taken at least as long as its first token is waited for.
        warn: whether a fallback because of it is told as a warning.
    """

    again: Again
    next: Next
    trip: BreakerRule | None = None
    unreliable: bool = False
    slow: bool = False
    warn: bool = False


_RATE_LIMIT = BreakerRule("endpoint", TripReason.RATE_LIMIT, 30 * SECOND_MS, 30 * SECOND_MS)
_NO_CREDIT = BreakerRule("key", TripReason.NO_CREDIT, 15 * MINUTE_MS, HOUR_MS)
_KEY_REFUSED = BreakerRule("key", TripReason.KEY_REFUSED, FOR_GOOD_MS, FOR_GOOD_MS)
_MODEL_GONE = BreakerRule("model", TripReason.MODEL_GONE, 24 * HOUR_MS, 24 * HOUR_MS)
_UNREACHABLE = BreakerRule("address", TripReason.UNREACHABLE, 30 * SECOND_MS, 15 * MINUTE_MS)


def _third(reason: TripReason) -> BreakerRule:
    """The third such failure of an endpoint in ten minutes opens its circuit."""
    return BreakerRule("endpoint", reason, 30 * SECOND_MS, 15 * MINUTE_MS, counts=True)


_FAILURES, _TIMEOUTS, _BROKEN = map(_third, (TripReason.FAILURES, TripReason.TIMEOUTS, TripReason.BROKEN_ANSWERS))

RULES: dict[type[AttemptError], FailureRule] = {
    RateLimitError: FailureRule("when told", "other provider first", _RATE_LIMIT, unreliable=True),
    QuotaError: FailureRule("never", "other provider", _NO_CREDIT, warn=True),
    AuthenticationError: FailureRule("never", "other provider", _KEY_REFUSED, warn=True),
    ModelGoneError: FailureRule("never", "any", _MODEL_GONE, warn=True),
    TransientError: FailureRule("once", "other provider first", _FAILURES, unreliable=True, slow=True),
    ProviderTimeoutError: FailureRule("never", "other provider first", _TIMEOUTS, unreliable=True, slow=True),
    UnreachableError: FailureRule("when broken off", "other provider", _UNREACHABLE, unreliable=True, slow=True),
    ContextLengthError: FailureRule("never", "larger window"),
    ContentError: FailureRule("never", "when allowed"),
    ParameterError: FailureRule("adapted", "that takes it"),
    BadRequestError: FailureRule("never", "never"),
    BadOutputError: FailureRule("once", "other provider first", _BROKEN, unreliable=True, slow=True),
    CircuitOpenError: FailureRule("never", "other provider first"),
}


class _Turn(NamedTuple):
    """A call that is to be made: of which candidate, after which pause and which failure of its own."""

    entry: RankedCandidate
    pause_s: float = 0.0
    failed_before: AttemptError | None = None
    adaptation: Adaptation | None = None

    @property
    def calls(self) -> int:
        """Which call of the candidate it is, counted from 1."""
        return 1 if self.failed_before is None else 2


class _SecondCall(NamedTuple):
    """A candidate that may be called once more, from when on, and what its first call failed with."""

    entry: RankedCandidate
    ready_s: float
    error: AttemptError


class _Queue:
    """The order of calls: each candidate once before any twice, other providers before a sibling of one that failed."""

    def __init__(self, entries: Sequence[RankedCandidate], policy: Policy) -> None:
        self._policy = policy
        self._failed_providers: set[str] = set()
        self._second_calls: list[_SecondCall] = []
        self.fresh = list(entries)

    def join(self, entries: Sequence[RankedCandidate]) -> None:
        """Take up more candidates, behind those that are known."""
        self.fresh += entries

    def after(self, turn: _Turn, outcome: Outcome, *, last: bool) -> _Turn:
        """Return the call that follows one that has failed; with `last` none may.

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
        if turn.calls == 1 and rule.again == "adapted" and outcome.adaptation is not None:
            return _Turn(entry, failed_before=error, adaptation=outcome.adaptation)
        self._keep(lambda other: _may_follow(other, entry, error, policy))
        if rule.next == "other provider first":
            self._failed_providers.add(entry.model.provider)
        pause_s = _pause_before_again(error, policy) if turn.calls == 1 and outcome.retry_allowed else None
        if pause_s is not None:
            self._second_calls.append(_SecondCall(entry, outcome.elapsed_s + pause_s, error))
        return self._next(outcome.elapsed_s, error)

    def _keep(self, may_follow: Callable[[RankedCandidate], bool]) -> None:
        self.fresh = [entry for entry in self.fresh if may_follow(entry)]
        self._second_calls = [second for second in self._second_calls if may_follow(second.entry)]

    def _next(self, elapsed_s: float, error: AttemptError | BudgetExceededError) -> _Turn:
        if self.fresh:
            sound = (one for one in self.fresh if one.model.provider not in self._failed_providers)
            entry = next(sound, self.fresh[0])
            self.fresh.remove(entry)
            return _Turn(entry)
        in_time = [second for second in self._second_calls if second.ready_s < self._policy.deadline_s]
        if not in_time:
            raise error
        soonest = min(in_time, key=lambda second: second.ready_s)
        self._second_calls.remove(soonest)
        return _Turn(soonest.entry, max(soonest.ready_s - elapsed_s, 0.0), soonest.error)


def attempt_loop(
    entries: Sequence[RankedCandidate], policy: Policy, *, others: bool = False
) -> Generator[Try | Wait | MoreCandidates, Outcome, None]:
    """Yield what to do next until a candidate has answered.

    With `others` the first failure asks who else may be called; until then somebody is taken to be left.

    Raises:
        AttemptError: no candidate is left; this is the last failure.
        IncompleteAnswerError: an answer broke off after text of it was shown, which nothing can mend.
        DeadlineError: the time for the whole request is over.
        BudgetExceededError: no candidate is left whose worst case fits the budget.
    """
    queue = _Queue(entries, policy)
    turn, failure, number = _Turn(queue.fresh.pop(0)), None, 0
    while True:
        if turn.pause_s > 0:
            assert turn.failed_before is not None
            yield Wait(turn.pause_s, turn.entry, turn.failed_before)
        alone = not (queue.fresh or others) or number + 1 == policy.max_attempts
        fell_from = failure if failure is not None and failure.entry is not turn.entry else None
        retry = turn.failed_before is not None and turn.adaptation is None
        outcome = yield Try(turn.entry, number + 1, fell_from, alone, retry, turn.adaptation)
        if (error := outcome.error) is None:
            return
        # What was not sent is no attempt.
        number += not isinstance(error, BudgetExceededError | CircuitOpenError)
        if others and not outcome.shown:
            others = False
            found = yield MoreCandidates()
            outcome = outcome._replace(elapsed_s=found.elapsed_s)
            queue.join(found.entries)
        failure = Failure(turn.entry, error, turn.calls)
        turn = queue.after(turn, outcome, last=number == policy.max_attempts)


def _fits(other: RankedCandidate, refused: BudgetExceededError) -> bool:
    """Whether a candidate may fit where another did not; its price must be known for that."""
    least, headroom = other.candidate.least_worst_picousd, refused.headroom_picousd
    return least is not None and headroom is not None and least <= headroom


def _deadline(policy: Policy, entry: RankedCandidate, error: AttemptError) -> DeadlineError:
    from llmroute.text.option_names import OptionText, Remedy

    # Of what the deadline itself has cut short the provider's failure says nothing.
    cut_short = isinstance(error, ProviderTimeoutError)
    last = f"{entry.model.name} had not answered" if cut_short else f"last: {error.message}"
    return DeadlineError(
        f"no answer within {policy.deadline_s:g} s; {last}",
        hint=OptionText("allow more with ", Remedy("timeout_s")),
        option="timeout_s",
    )


def _pause_before_again(error: AttemptError, policy: Policy) -> float | None:
    """Return how long to wait before the same candidate is called again; None when it is not."""
    if error.should_retry is False:
        return None
    again = RULES[type(error)].again
    if again == "once" or (again == "when broken off" and getattr(error, "broken_off", False)):
        pause_s = RETRY_PAUSE_S * (1 - JITTER + 2 * JITTER * policy.jitter)
        return max(pause_s, error.retry_after_s or 0.0)
    if again == "when told" or error.should_retry:
        return SOON_S if error.retry_after_s is None else error.retry_after_s
    return None


def _may_follow(other: RankedCandidate, failed: RankedCandidate, error: AttemptError, policy: Policy) -> bool:
    """Whether another candidate may stand in after this failure."""
    match RULES[type(error)].next:
        case "any" | "other provider first":
            return True
        case "other provider":
            return other.model.provider != failed.model.provider
        case "larger window":
            return (other.model.context_window or 0) > (failed.model.context_window or 0)
        case "that takes it":
            return takes(other.model, error.code, policy.prompt)
        case "when allowed":
            return policy.fallback_on_content
        case "never":
            return False
