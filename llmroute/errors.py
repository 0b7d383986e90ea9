"""Everything that can go wrong, by what happened; what to do about it is decided in `routing.fallback` alone.

* LLMRouteError
  x RequestError            the caller asked for what cannot be (exit 2)
  x ConfigError             a setting that does not parse or does not fit (exit 2)
    + ConfigWriteError      config.toml cannot be changed (exit 3)
  x NoCandidateError        no model is usable: key, engine, server (exit 3), the request's own limits (exit 2)
    + EngineUnavailableError
    + ModelRetiredError
  x LedgerError             the ledger cannot be read or written (exit 3)
  x OutputError             a file that was to be written cannot be (exit 3)
  x BudgetExceededError     refused here, before any byte was sent (exit 5)
  x DeadlineError           the time for the whole request is over (exit 7)
  x AttemptError            one call to one provider failed
    + RateLimitError        429, or a queue that is full (exit 4)
    + QuotaError            no credit is left (exit 3)
    + AuthenticationError   the key is missing, wrong or not allowed to (exit 3)
    + ModelGoneError        the provider does not know the model (exit 3)
    + TransientError        5xx, or an error inside a stream (exit 4)
    + ProviderTimeoutError  no connection, no first token, a stall (exit 4)
    + UnreachableError      DNS, refused, reset, TLS (exit 4)
    + ContextLengthError    the prompt is too long for the model (exit 2)
    + ContentError          refused or filtered (exit 6)
    + ParameterError        an unsupported parameter or value (exit 2)
    + BadRequestError       any other fault of the request (exit 2)
    + BadOutputError        empty, undecodable or unfinished (exit 6)
    + RestingError          left alone after failures; nothing was sent (exit 4)
    + AllProvidersFailedError  several failed; names each; is also of the class of the last, and exits as that does
  x IncompleteAnswerError   the stream broke after text was shown (exit 6)

A bug is none of these: it traces under --debug and exits 1.

All pickle and copy with every field; the cause and the traceback stay behind, as those of any exception do.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.text.option_names import Remedy
    from llmroute.types import AttemptRecord, Usage


class LLMRouteError(Exception):
    """The base of all: a message in lower case (what and where), and a hint (what to do next).

    `option` is the field of `Options`, or the argument, that the error is about, where it is about one.
    """

    exit_code = exit_codes.BUG
    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        option: str | None = None,
        attempts: Sequence[AttemptRecord] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.option = option
        self.attempts = tuple(attempts)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """The options that the message and the hint name, with the values that would help where those are known."""
        from llmroute.text.option_names import remedies_of

        return remedies_of(self.message, self.hint)

    def __reduce__(self) -> tuple[Callable[..., LLMRouteError], tuple[Any, ...], dict[str, Any]]:
        return remade, (type(self), self.args), self.__dict__


def remade(kind: type[LLMRouteError], args: tuple[Any, ...]) -> LLMRouteError:
    """Return an error of which only the arguments are set: what copies and pickles it sets the rest."""
    return kind.__new__(kind, *args)


class RequestError(LLMRouteError):
    """The caller asked for what cannot be."""

    exit_code = exit_codes.USAGE
    kind = "usage"


class ConfigError(LLMRouteError):
    """A setting does not parse or does not fit."""

    exit_code = exit_codes.USAGE
    kind = "config"


class ConfigWriteError(ConfigError):
    """The file of settings cannot be written, or another process keeps it locked."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "config_write"


class NoCandidateError(LLMRouteError):
    """No model is left that could answer this request."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "no_candidate"


class EngineUnavailableError(NoCandidateError):
    """The embedded engine or its weights are not installed."""

    kind = "engine"


class ModelRetiredError(NoCandidateError):
    """The vendor has retired the model and nothing living succeeds it."""

    kind = "model_retired"


class LedgerError(LLMRouteError):
    """The ledger cannot be read or written; `locked` says that another process or thread held its lock for too long."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "ledger"
    locked: bool = False


class OutputError(LLMRouteError):
    """A file that was to be written cannot be: its disk is full or read-only, or its owner does not allow it."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "output"


# What says that a path names no place for a file, rather than that the place takes none.
_NO_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})


def cannot_write(named: object, error: OSError) -> RequestError | OutputError:
    """Return the error for a file that the caller named: theirs where there is no such place."""
    kind = RequestError if error.errno in _NO_PLACE else OutputError
    return kind(f"{named} cannot be written: {error.strerror or error}")


class BudgetExceededError(LLMRouteError):
    """The worst case of the request does not fit the budget; nothing was sent.

    `headroom_picousd` is what a cheaper candidate would have to fit into; None where no other can help.  `of_request`
    says that it was the request's own budget, or its price: the next request may well fit.
    """

    exit_code = exit_codes.BUDGET
    kind = "budget"
    headroom_picousd: int | None = None
    of_request: bool = False


class DeadlineError(LLMRouteError):
    """The time for the whole request is over."""

    exit_code = exit_codes.DEADLINE
    kind = "deadline"


class AttemptError(LLMRouteError):
    """One call to one provider failed.

    `http_status` and `code` are the provider's own; `retry_after_s` is its wish in seconds, already clamped;
    `should_retry` is `x-should-retry` where it was sent.  `sent` is False where it is certain that not a byte of the
    request was sent, so that nothing can be billed.  `usage` is what the provider told of tokens beside the error, None
    where it did not tell both the prompt's and the answer's.
    """

    exit_code = exit_codes.TRY_LATER
    kind = "attempt"
    sent = True
    usage: Usage | None = None

    def __init__(  # noqa: PLR0913 (an error carries what the table needs)
        self,
        message: str,
        *,
        provider: str = "",
        model: str | None = None,
        http_status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        hint: str | None = None,
        attempts: Sequence[AttemptRecord] = (),
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts)
        self.provider = provider
        self.model = model
        self.http_status = http_status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry


class RateLimitError(AttemptError):
    """The provider asks to be called less often."""

    kind = "rate_limit"


class QuotaError(AttemptError):
    """The account has no credit left; waiting does not help."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "quota"


class AuthenticationError(AttemptError):
    """The key is missing, wrong, or not allowed to do this."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "auth"


class ModelGoneError(AttemptError):
    """The provider does not know, or no longer serves, the model."""

    exit_code = exit_codes.NEEDS_A_PERSON
    kind = "model_gone"


class TransientError(AttemptError):
    """The provider failed on its side."""

    kind = "transient"


class ProviderTimeoutError(AttemptError):
    """No connection, no first token, or a stall."""

    kind = "timeout"


class UnreachableError(AttemptError):
    """The provider could not be reached: DNS, refused, reset, TLS.

    `broken_off` tells a line that broke, which may hold the next time, from a door that is closed.
    """

    kind = "unreachable"
    broken_off = False


class ContextLengthError(AttemptError):
    """The prompt does not fit the model's window."""

    exit_code = exit_codes.USAGE
    kind = "context"


class ContentError(AttemptError):
    """The provider refused or filtered the content."""

    exit_code = exit_codes.INCOMPLETE
    kind = "content"


class ParameterError(AttemptError):
    """The model does not take a parameter or a value; `code` names it where the provider did."""

    exit_code = exit_codes.USAGE
    kind = "parameter"


class BadRequestError(AttemptError):
    """The provider calls the request wrong; another provider would too."""

    exit_code = exit_codes.USAGE
    kind = "caller"


class BadOutputError(AttemptError):
    """The answer is empty, cannot be decoded, or ended without its end."""

    exit_code = exit_codes.INCOMPLETE
    kind = "bad_output"


class CircuitOpenError(AttemptError):
    """Somebody else is trying just now whether what had failed is well again; nothing was sent."""

    kind = "resting"
    sent = False


class AllProvidersFailedError(AttemptError):
    """Every one of several attempts failed: `attempts` has each, `__cause__` is the last.

    What is raised is an instance of the class of the last failure too, and has its fields: `except RateLimitError`
    catches it where the last was one.
    """

    kind = "all_failed"

    def __init__(
        self,
        message: str,
        *,
        exit_code: int,
        hint: str | None = None,
        attempts: Sequence[AttemptRecord] = (),
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts)
        self.exit_code = exit_code


class IncompleteAnswerError(LLMRouteError):
    """The answer broke off after text of it was shown."""

    exit_code = exit_codes.INCOMPLETE
    kind = "incomplete"
