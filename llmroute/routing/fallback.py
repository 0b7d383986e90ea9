"""The consequences of a failure (retry, next candidate, open circuit) in one table."""

from typing import Literal, NamedTuple

from llmroute.circuits import FOR_GOOD_MS, HOUR_MS, MINUTE_MS, SECOND_MS, BreakerRule, TripReason
from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    CheckError,
    CircuitOpenError,
    ContentError,
    ContextLengthError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    SchemaError,
    TransientError,
    UnreachableError,
)
from llmroute.routing.actions import Policy
from llmroute.routing.parameters import takes
from llmroute.routing.plan import RankedCandidate

# The pause after a rate limit without a Retry-After header.
SOON_S = 1.0
RETRY_PAUSE_S = 0.5
JITTER = 0.2

Again = Literal["never", "once", "when requested", "when broken off", "adapted", "repaired"]
Next = Literal[
    "any",
    "other provider first",
    "other provider",
    "larger window",
    "that takes it",
    "that may end it",
    "when allowed",
    "never",
]


class FailureRule(NamedTuple):
    """The consequences of one class of failure.  The exit code of each is that of its class in `errors`.

    Attributes:
        again: whether the same model is retried once, after every other candidate was called.
        next: which candidates may follow; "other provider first" moves models of the failed provider to the end.
        trip: the circuit it opens, and for how long without a Retry-After; None opens none.
        unreliable: whether it counts against the reliability of the model.
        slow: whether the latency of the model counts as at least the first-token timeout.
        warn: whether the note on the fallback is a warning.
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
    return BreakerRule("endpoint", reason, 30 * SECOND_MS, 15 * MINUTE_MS, counts=True)


_FAILURES, _TIMEOUTS, _BROKEN = map(_third, (TripReason.FAILURES, TripReason.TIMEOUTS, TripReason.BROKEN_ANSWERS))

RULES: dict[type[AttemptError], FailureRule] = {
    RateLimitError: FailureRule("when requested", "other provider first", _RATE_LIMIT, unreliable=True),
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
    SchemaError: FailureRule("repaired", "that may end it"),
    CheckError: FailureRule("never", "any"),
    CircuitOpenError: FailureRule("never", "other provider first"),
}


def pause_before_retry(error: AttemptError, policy: Policy) -> float | None:
    """Return the seconds to wait before a retry of the same candidate; None for no retry."""
    if error.should_retry is False:
        return None
    again = RULES[type(error)].again
    if again == "once" or (again == "when broken off" and getattr(error, "broken_off", False)):
        pause_s = RETRY_PAUSE_S * (1 - JITTER + 2 * JITTER * policy.jitter)
        return max(pause_s, error.retry_after_s or 0.0)
    if again == "when requested" or error.should_retry:
        return SOON_S if error.retry_after_s is None else error.retry_after_s
    return None


def may_follow(other: RankedCandidate, failed: RankedCandidate, error: AttemptError, policy: Policy) -> bool:
    """Return whether another candidate may follow after this failure."""
    match RULES[type(error)].next:
        case "any" | "other provider first":
            return True
        case "other provider":
            return other.model.provider != failed.model.provider
        case "larger window":
            return (other.model.context_window or 0) > (failed.model.context_window or 0)
        case "that takes it":
            return takes(other.model, error.code, policy.prompt)
        case "that may end it":
            return _may_end(other, failed, error)
        case "when allowed":
            return policy.fallback_on_content
        case "never":
            return False


def _may_end(other: RankedCandidate, failed: RankedCandidate, error: AttemptError) -> bool:
    """Return whether another candidate may end an answer that was cut at a limit; True for one that was not cut."""
    match error.cut_at if isinstance(error, SchemaError) else None:
        case "caller":
            return False
        case "budget":
            # Of the same budget a cheaper model has more tokens.
            worst, failed_worst = other.candidate.worst, failed.candidate.worst
            return worst is None or failed_worst is None or worst.token_picousd < failed_worst.token_picousd
        case _:
            return True
