"""The actions that the attempt loop yields, and the outcomes that it receives."""

from collections.abc import Sequence
from typing import NamedTuple

from llmroute.errors import AttemptError, BudgetExceededError
from llmroute.routing.parameters import Adaptation
from llmroute.routing.plan import RankedCandidate
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import Prompt

MAX_ATTEMPTS = 8
"""The default maximum number of calls of a request."""
MAX_REJECTIONS = 7
"""The default maximum number of answers that may be rejected."""


class Policy(NamedTuple):
    """The limits of a request.  `jitter` is a random number from 0 to 1, drawn once for each request."""

    deadline_s: float
    fallback_on_content: bool = False
    jitter: float = 0.5
    cheaper: bool = True
    """Whether a candidate over the budget is skipped for a cheaper one; else it ends the request."""
    prompt: Prompt | None = None
    """The prompt, to find a candidate that accepts a parameter that another rejected."""
    max_attempts: int = MAX_ATTEMPTS
    """The maximum number of calls that are sent, without those whose answer is rejected."""
    max_rejections: int = MAX_REJECTIONS
    """The maximum number of rejected answers."""


class Failure(NamedTuple):
    """A candidate that failed, after `calls` calls, and its last error."""

    entry: RankedCandidate
    error: AttemptError | BudgetExceededError
    calls: int


class Repair(NamedTuple):
    """A second call of the same model, with a prompt that asks to correct its answer.

    `entry` is the candidate with the costs of that prompt.
    """

    prompt: Prompt
    size: PromptSize
    entry: RankedCandidate


class Try(NamedTuple):
    """Call this candidate now.

    Attributes:
        fell_from: the failure of another candidate that this one replaces, if any.
        alone: whether no uncalled candidate is left, so that this one may use all the remaining time.
        retry: whether this candidate has failed once already.
        adaptation: how to change its request after a rejected parameter; this is not a retry.
        repair: the prompt in place of the request's, to correct an invalid answer; this is not a retry either.
    """

    entry: RankedCandidate
    number: int
    fell_from: Failure | None
    alone: bool
    retry: bool = False
    adaptation: Adaptation | None = None
    repair: Repair | None = None


class Wait(NamedTuple):
    """Sleep for `seconds` before a retry of the candidate that failed with `error`."""

    seconds: float
    entry: RankedCandidate
    error: AttemptError


class MoreCandidates(NamedTuple):
    """Return further candidates, beside the entries that the loop was given."""


class Outcome(NamedTuple):
    """The result of an action.

    Attributes:
        elapsed_s: seconds since the start of the request.
        error: None on success.
        shown: whether part of the answer was streamed to the caller.
        retry_allowed: whether the retry budget of the provider allows a retry.
        adaptation: how to change a request after a rejected parameter, None if it cannot be.
        repair: how to ask for a correction of the answer, None if it is pointless.
        entries: the answer to `MoreCandidates`.
    """

    elapsed_s: float
    error: AttemptError | BudgetExceededError | None = None
    shown: bool = False
    retry_allowed: bool = True
    adaptation: Adaptation | None = None
    repair: Repair | None = None
    entries: Sequence[RankedCandidate] = ()
