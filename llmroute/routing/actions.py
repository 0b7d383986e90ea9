"""The actions that the attempt loop asks its caller to perform, and the outcomes that it is sent."""

from collections.abc import Sequence
from typing import NamedTuple

from llmroute.errors import AttemptError, BudgetExceededError
from llmroute.routing.parameters import Adaptation
from llmroute.routing.plan import RankedCandidate
from llmroute.types import Prompt

MAX_ATTEMPTS = 8
"""How many calls a request makes at most where neither its caller nor the configuration says how many."""


class Policy(NamedTuple):
    """What the caller allows.  `jitter` is a random number from 0 to 1, drawn once for the request."""

    deadline_s: float
    fallback_on_content: bool = False
    jitter: float = 0.5
    cheaper: bool = True
    """Whether a candidate over the budget is passed over for a cheaper one that fits, or ends the request."""
    prompt: Prompt | None = None
    """The prompt: a candidate that refuses one of its parameters is followed by one that accepts it."""
    max_attempts: int = MAX_ATTEMPTS
    """How many calls are made at most; what was not sent is none."""


class Failure(NamedTuple):
    """A candidate that was given up: after how many calls, and for what."""

    entry: RankedCandidate
    error: AttemptError | BudgetExceededError
    calls: int


class Try(NamedTuple):
    """Call this candidate now.  `fell_from` is set when it stands in for another that has just failed.

    `alone` says that no candidate is left that was not called yet: it may take all the time that is left.  `retry` says
    that this candidate has failed once already; `adaptation` says how its request is put otherwise, which is no retry.
    """

    entry: RankedCandidate
    number: int
    fell_from: Failure | None
    alone: bool
    retry: bool = False
    adaptation: Adaptation | None = None


class Wait(NamedTuple):
    """Sleep so many seconds before a candidate that has failed with `error` is called again."""

    seconds: float
    entry: RankedCandidate
    error: AttemptError


class MoreCandidates(NamedTuple):
    """Say who else may be called, beside the entries that the loop was given."""


class Outcome(NamedTuple):
    """What came of an action: no error is success.  `elapsed_s` counts from the start of the whole request.

    `entries` answer `MoreCandidates`.

    `retry_allowed` says whether the provider has a retry left, `adaptation` how a request that was refused for a
    parameter could be put otherwise.
    """

    elapsed_s: float
    error: AttemptError | BudgetExceededError | None = None
    shown: bool = False
    retry_allowed: bool = True
    adaptation: Adaptation | None = None
    entries: Sequence[RankedCandidate] = ()
