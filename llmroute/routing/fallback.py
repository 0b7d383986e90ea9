"""The attempt loop: retry, fall back, stop.  A generator that yields actions; no I/O, no clock of its own."""

from collections.abc import Generator, Sequence
from typing import Literal, NamedTuple

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    BudgetExceededError,
    ContentError,
    ContextLengthError,
    DeadlineError,
    IncompleteAnswerError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    RestingError,
    TransientError,
    UnreachableError,
)
from llmroute.routing.parameters import Adaptation, takes
from llmroute.routing.plan import Entry
from llmroute.types import PICO_PER_USD, Prompt

MAX_ATTEMPTS = 4
# While another candidate is healthy nobody sleeps longer.
SOON_S = 1.0
RETRY_PAUSE_S = 0.5
JITTER = 0.2
# With less time left than this no call is worth making.
LEAST_S = 0.001

Again = Literal["never", "once", "when told", "when broken off", "adapted"]
Next = Literal["any", "other provider", "larger window", "that takes it", "when allowed", "never"]


class Rule(NamedTuple):
    """What is done about one class of failure: whether the same endpoint is asked again, and who is asked next."""

    again: Again
    next: Next
    warn: bool = False


RULES: dict[type[AttemptError], Rule] = {
    RateLimitError: Rule("when told", "any"),
    QuotaError: Rule("never", "other provider", warn=True),
    AuthenticationError: Rule("never", "other provider", warn=True),
    ModelGoneError: Rule("never", "any", warn=True),
    TransientError: Rule("once", "any"),
    ProviderTimeoutError: Rule("never", "any"),
    UnreachableError: Rule("when broken off", "other provider"),
    ContextLengthError: Rule("never", "larger window"),
    ContentError: Rule("never", "when allowed"),
    ParameterError: Rule("adapted", "that takes it"),
    BadRequestError: Rule("never", "never"),
    BadOutputError: Rule("once", "any"),
    RestingError: Rule("never", "any"),
}


class Policy(NamedTuple):
    """What the caller allows.  `jitter` is a random number from 0 to 1, drawn once for the request."""

    deadline_s: float
    fallback_on_content: bool = False
    jitter: float = 0.5
    cheaper: bool = True
    """Whether a candidate over the budget is passed over for a cheaper one that fits, or ends the request."""
    prompt: Prompt | None = None
    """What is asked: who refuses a parameter of it is followed by one that takes it."""


class Failure(NamedTuple):
    """A candidate that was given up: after how many calls, and for what."""

    entry: Entry
    error: AttemptError | BudgetExceededError
    calls: int


class Try(NamedTuple):
    """Call this candidate now.  `fell_from` is set when it stands in for one that was given up.

    `alone` says that nobody else will be called: it may take all the time that is left.  `retry` says that this
    candidate has failed once already; `adaptation` says how its request is put otherwise, which costs no retry.
    """

    entry: Entry
    number: int
    fell_from: Failure | None
    alone: bool
    retry: bool = False
    adaptation: Adaptation | None = None


class Wait(NamedTuple):
    """Sleep so many seconds before the same candidate is called again."""

    seconds: float


class Others(NamedTuple):
    """Say who else may be called, beside the entries that the loop was given."""


class Outcome(NamedTuple):
    """What came of an action: no error is success.  `elapsed_s` counts from the start of the whole request.

    `entries` answer `Others`.

    `retry_allowed` says whether the provider has a retry left, `adaptation` how a request that was refused for a
    parameter could be put otherwise.
    """

    elapsed_s: float
    error: AttemptError | BudgetExceededError | None = None
    shown: bool = False
    retry_allowed: bool = True
    adaptation: Adaptation | None = None
    entries: Sequence[Entry] = ()


def attempt_loop(
    entries: Sequence[Entry], policy: Policy, *, others: bool = False
) -> Generator[Try | Wait | Others, Outcome, None]:
    """Yield what to do next until a candidate has answered.

    With `others` the first failure asks who else may be called; until then somebody is taken to be left.

    Raises:
        AttemptError: nobody is left; this is the last failure.
        IncompleteAnswerError: an answer broke off after text of it was shown, which nothing can mend.
        DeadlineError: the time for the whole request is over.
        BudgetExceededError: nobody is left whose worst case fits the budget.
    """
    remaining = list(entries)
    fell_from: Failure | None = None
    number = 0
    while True:
        entry = remaining.pop(0)
        calls = 0
        adaptation: Adaptation | None = None
        while True:
            calls += 1
            alone = not (remaining or others) or number + 1 == MAX_ATTEMPTS
            again = calls > 1 and adaptation is None
            outcome = yield Try(entry, number + 1, fell_from if calls == 1 else None, alone, again, adaptation)
            error = outcome.error
            # What was not sent is no attempt.
            number += not isinstance(error, BudgetExceededError | RestingError)
            if error is None:
                return
            if others and not outcome.shown:
                others = False
                found = yield Others()
                outcome = outcome._replace(elapsed_s=found.elapsed_s)
                remaining += found.entries
                entries = [*entries, *found.entries]
            if isinstance(error, BudgetExceededError):
                remaining = [other for other in remaining if _fits(other, error)]
                if not (policy.cheaper and remaining):
                    raise _with_nearest(error, entries)
                fell_from = Failure(entry, error, calls)
                break
            if outcome.shown:
                raise IncompleteAnswerError(f"{entry.model.name}: the answer broke off: {error.message}") from error
            if policy.deadline_s - outcome.elapsed_s < LEAST_S:
                raise _deadline(policy, error) from error
            adaptation = outcome.adaptation if calls == 1 and RULES[type(error)].again == "adapted" else None
            pause_s: float | None = 0.0
            if adaptation is None:
                remaining = [other for other in remaining if _may_follow(other, entry, error, policy)]
                left_s = policy.deadline_s - outcome.elapsed_s
                may_again = calls == 1 and outcome.retry_allowed
                pause_s = _pause_before_again(error, left_s, policy, bool(remaining)) if may_again else None
            if number == MAX_ATTEMPTS or (pause_s is None and not remaining):
                raise error
            if pause_s is None:
                fell_from = Failure(entry, error, calls)
                break
            if pause_s > 0:
                yield Wait(pause_s)


def _fits(other: Entry, refused: BudgetExceededError) -> bool:
    """Whether a candidate may fit where another did not; its price must be known for that."""
    least, headroom = other.candidate.least_worst_picousd, refused.headroom_picousd
    return least is not None and headroom is not None and least <= headroom


def _with_nearest(error: BudgetExceededError, entries: Sequence[Entry]) -> BudgetExceededError:
    """Let the error name who comes nearest to the budget."""
    priced = [
        (least, entry.model.name) for entry in entries if (least := entry.candidate.least_worst_picousd) is not None
    ]
    if priced and error.headroom_picousd is not None and error.hint is None:
        least, name = min(priced)
        error.hint = f"the nearest is {name}, which could cost ${least / PICO_PER_USD:.6f}"
    return error


def _deadline(policy: Policy, error: AttemptError) -> DeadlineError:
    from llmroute.wording import Remedy, Told

    return DeadlineError(
        f"no answer within {policy.deadline_s:g} s; last: {error.message}",
        hint=Told("allow more with ", Remedy("timeout_s")),
        option="timeout_s",
    )


def _pause_before_again(error: AttemptError, left_s: float, policy: Policy, healthy: bool) -> float | None:
    """Return how long to wait before the same candidate is asked again; None when it is not."""
    if error.should_retry is False:
        return None
    again = RULES[type(error)].again
    if again == "once" or (again == "when broken off" and getattr(error, "broken_off", False)):
        pause_s = RETRY_PAUSE_S * (1 - JITTER + 2 * JITTER * policy.jitter)
        pause_s = max(pause_s, error.retry_after_s or 0.0)
    elif again == "when told" or error.should_retry:
        if error.retry_after_s is None and healthy:
            return None
        pause_s = error.retry_after_s if error.retry_after_s is not None else SOON_S
    else:
        return None
    if pause_s >= left_s or (healthy and pause_s > SOON_S):
        return None
    return pause_s


def _may_follow(other: Entry, failed: Entry, error: AttemptError, policy: Policy) -> bool:
    """Whether another candidate may stand in after this failure."""
    match RULES[type(error)].next:
        case "any":
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
