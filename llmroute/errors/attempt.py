"""Errors of a single attempt: one call to one provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from llmroute import exit_codes
from llmroute.errors.base import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.types import AttemptRecord, Usage


LimitOrigin: TypeAlias = Literal["caller", "budget", "model"]


class AttemptError(LLMRouteError):
    """One call to one provider failed.

    `http_status` and `code` are the provider's.  `retry_after_s` is the delay that it requests, in seconds and limited;
    `should_retry` is its `x-should-retry` header, if any.  `sent` is False if certainly no byte of the request was
    sent, so nothing can be billed.  `usage` is the usage that the provider reports with the error, None unless it
    reports input and output tokens.
    """

    exit_code = exit_codes.TRY_LATER
    kind = "attempt"
    status = "failed"
    """The status of the attempt in the ledger."""
    sent = True
    usage: Usage | None = None

    def __init__(  # noqa: PLR0913 (the fields that the rules of `routing.fallback` need)
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
    """The provider's rate limit is exceeded."""

    kind = "rate_limit"


class QuotaError(AttemptError):
    """The account has no credit left; a retry does not help."""

    exit_code = exit_codes.SETUP
    kind = "quota"


class AuthenticationError(AttemptError):
    """The API key is missing, invalid, or has no permission."""

    exit_code = exit_codes.SETUP
    kind = "auth"


class ModelGoneError(AttemptError):
    """The provider does not serve the model, or no longer does."""

    exit_code = exit_codes.SETUP
    kind = "model_gone"


class TransientError(AttemptError):
    """The provider had an internal error."""

    kind = "transient"


class ProviderTimeoutError(AttemptError):
    """Connecting, the first token or the next chunk timed out."""

    kind = "timeout"


class UnreachableError(AttemptError):
    """The provider could not be reached: DNS, connection refused or reset, TLS.

    `broken_off`: the connection was established and then lost, so a retry may succeed.
    `local`: this process had no descriptor or thread left, which says nothing of the provider.
    """

    kind = "unreachable"
    broken_off = False
    local = False


class ContextLengthError(AttemptError):
    """The prompt exceeds the model's context window."""

    exit_code = exit_codes.USAGE
    kind = "context"


class ContentError(AttemptError):
    """The provider refused or filtered the content."""

    exit_code = exit_codes.INCOMPLETE
    kind = "content"


class ParameterError(AttemptError):
    """The model does not support a parameter or a value; `code` is its name if the provider reports it.

    `maximums` are the largest values of it that the provider names; `unsupported`: the parameter itself, not only its
    value, is not supported.
    """

    exit_code = exit_codes.USAGE
    kind = "parameter"
    maximums: tuple[int, ...] = ()
    unsupported = False


class BadRequestError(AttemptError):
    """The provider rejects the request as invalid, as other providers would."""

    exit_code = exit_codes.USAGE
    kind = "caller"


class BadOutputError(AttemptError):
    """The response is empty, cannot be decoded, or ended early."""

    exit_code = exit_codes.INCOMPLETE
    kind = "bad_output"


class RejectedError(AttemptError):
    """A complete, paid answer is rejected."""

    exit_code = exit_codes.INCOMPLETE
    kind = "rejected"
    status = "rejected"


class SchemaError(RejectedError):
    """The answer is not a document that is valid against the schema of the request.

    `answer` is its text and `errors` are the reasons, a short line each.  `cut_at` names the completion limit at which
    it ended, so that a repair is pointless: `caller` for that of the request, or `reasoning` where reasoning took part
    of it; `budget` for one that a budget set, and `model` for any other.
    """

    kind = "schema"
    answer = ""
    errors: tuple[str, ...] = ()
    cut_at: LimitOrigin | Literal["reasoning"] | None = None


class CheckError(RejectedError):
    """The check of the caller rejects the answer."""

    kind = "check"


class CircuitOpenError(AttemptError):
    """The circuit is half-open and another request is probing the provider; nothing was sent."""

    kind = "circuit_open"
    sent = False


class AllProvidersFailedError(AttemptError):
    """Several attempts failed: `attempts` has each, `__cause__` is the last error.

    The raised error is an instance of the class of the last error as well and has its fields, so `except
    RateLimitError` catches it if the last attempt was rate limited.
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
