"""Errors of a request as a whole: usage, configuration, candidates, ledger, output, budget and deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute import exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.text.option_text import Remedy
    from llmroute.types import AttemptRecord, LLMResponse


class LLMRouteError(Exception):
    """The base class of all errors: `message` says what happened and where, `hint` what to do next.

    `option` is the field of `Options`, or the argument, with the invalid value, if there is one.
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
        """The options that the message and the hint refer to, with values that would help where those are known."""
        from llmroute.text.option_text import remedies_of

        return remedies_of(self.message, self.hint)

    def __reduce__(self) -> tuple[Callable[..., LLMRouteError], tuple[Any, ...], dict[str, Any]]:
        return remade, (type(self), self.args), self.__dict__


def remade(kind: type[LLMRouteError], args: tuple[Any, ...]) -> LLMRouteError:
    """Return an error with its arguments only; `copy` and `pickle` then set its attributes."""
    return kind.__new__(kind, *args)


class RequestError(LLMRouteError):
    """The request is invalid."""

    exit_code = exit_codes.USAGE
    kind = "usage"


class ConfigError(LLMRouteError):
    """A setting is invalid."""

    exit_code = exit_codes.USAGE
    kind = "config"


class ConfigWriteError(ConfigError):
    """config.toml cannot be written, or another process holds its lock."""

    exit_code = exit_codes.SETUP
    kind = "config_write"


class NoCandidateError(LLMRouteError):
    """No model can serve this request."""

    exit_code = exit_codes.SETUP
    kind = "no_candidate"


class EngineUnavailableError(NoCandidateError):
    """The embedded engine or its weights are not installed."""

    kind = "engine"


class ModelRetiredError(NoCandidateError):
    """The model is retired and has no successor."""

    kind = "model_retired"


class LedgerError(LLMRouteError):
    """The ledger cannot be read or written.

    `locked` says that another process or thread held its lock for too long, `unanswered` that a server may have
    executed the statement: its answer did not arrive.
    """

    exit_code = exit_codes.SETUP
    kind = "ledger"
    locked: bool = False
    unanswered: bool = False


class OutputError(LLMRouteError):
    """An output file cannot be written: no space, a read-only file system, or no permission."""

    exit_code = exit_codes.SETUP
    kind = "output"


class VendorReportError(LLMRouteError):
    """A provider's cost report cannot be used: it does not parse, is not in USD, or its pages do not end."""

    exit_code = exit_codes.TRY_LATER
    kind = "vendor_report"


class BudgetExceededError(LLMRouteError):
    """The worst-case cost of the request exceeds the budget; nothing was sent.

    `headroom_picousd` is the remaining amount for a cheaper candidate, None if no candidate can fit.  `of_request` says
    that the request's own budget or price was the limit, so other requests may still fit.
    """

    exit_code = exit_codes.BUDGET
    kind = "budget"
    headroom_picousd: int | None = None
    of_request: bool = False


class CheckFaultError(LLMRouteError):
    """The check of the caller had no result: it cannot be started (exit 2), was killed, or took too long (exit 3).

    `response` is the unchecked answer, which is paid and in the ledger.
    """

    exit_code = exit_codes.SETUP
    kind = "check_fault"
    response: LLMResponse | None = None


class DeadlineError(LLMRouteError):
    """The deadline of the request has passed."""

    exit_code = exit_codes.DEADLINE
    kind = "deadline"


class InterruptedRequestError(LLMRouteError):
    """A request was interrupted after it was sent and before it had a result.

    `response` is the answer, paid and in the ledger, whose check was interrupted; None without one.
    """

    exit_code = exit_codes.TRY_LATER
    kind = "interrupted"
    response: LLMResponse | None = None


class IncompleteAnswerError(LLMRouteError):
    """The response ended early, after a part of it was streamed to the caller."""

    exit_code = exit_codes.INCOMPLETE
    kind = "incomplete"
