"""Messages about the failures of a request: notes on fallbacks and waits, and its final error."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes
from llmroute.errors import (
    AllProvidersFailedError,
    AttemptError,
    BudgetExceededError,
    CircuitOpenError,
    LLMRouteError,
    ModelGoneError,
    RejectedError,
    remade,
)
from llmroute.planning.skipped_models import price_note
from llmroute.routing.fallback import RULES
from llmroute.text.option_text import OptionText
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.errors import DeadlineError, IncompleteAnswerError
    from llmroute.routing.actions import Failure, Try, Wait
    from llmroute.routing.plan import Plan
    from llmroute.types import AttemptRecord

_SUMMARIES = {
    "rate_limit": "rate limited",
    "quota": "quota exhausted",
    "auth": "key rejected",
    "model_gone": "model unavailable",
    "transient": "provider error",
    "timeout": "timed out",
    "context": "prompt too long",
    "content": "answer refused or filtered",
    "parameter": "parameter rejected",
    "caller": "request rejected",
    "bad_output": "unusable answer",
    "schema": "answer not valid against the schema",
    "check": "answer rejected by the check",
}
"""The failures in words, by `AttemptError.kind`."""
_CLASSES: dict[type[AttemptError], type[AllProvidersFailedError]] = {}


def fallback_note(plan: Plan, action: Try, failure: Failure) -> str:
    """Return the note on a fallback: the failed model, and the cost where it is far higher."""
    error, failed = failure.error, failure.entry.model
    using = f"using {action.entry.model.name}{price_note(action.entry, plan)}"
    if isinstance(error, BudgetExceededError):
        return f"{error.message}; {using}"
    if isinstance(error, CircuitOpenError):
        return f"{failed.name}: {error.message}, {using}"
    if isinstance(error, RejectedError):
        return f"{failed.name}: {error.message}; {using}"
    rule = RULES[type(error)]
    if rule.warn and rule.trip is not None:
        culprit = failed.name if isinstance(error, ModelGoneError) else failed.provider
        status = f" ({error.http_status})" if error.http_status else ""
        return f"warning: {culprit}: {rule.trip.reason.value}{status}, {using}"
    attempts = "1 attempt" if failure.calls == 1 else f"{failure.calls} attempts"
    return f"{failed.name}: {_summary(error.kind, error.http_status)} after {attempts}, {using}"


def wait_note(action: Wait, deadline_s: float) -> str:
    """Return in words that the request waits before a retry, and for how long."""
    error = action.error
    return (
        f"{action.entry.model.name}: {_summary(error.kind, error.http_status)}, no fallback left;"
        f" retry in {ceil(action.seconds)} s (request timeout {deadline_s:g} s)"
    )


def _summary(kind: str, status: int | None) -> str:
    """Return a failure in a few words, with the HTTP status if it was an error status."""
    words = _SUMMARIES.get(kind, kind.replace("_", " "))
    return words if status in (None, HTTP_OK) else f"{words} ({status})"


def final_error(
    error: AttemptError | BudgetExceededError | IncompleteAnswerError | DeadlineError,
    plan: Plan,
    records: list[AttemptRecord],
    errors: list[AttemptError],
) -> Exception:
    """Give the last error every attempt; several failed attempts become one error that names them all."""
    error.attempts = tuple(records)
    if isinstance(error, BudgetExceededError):
        _name_nearest(error, plan, records)
        return _with_attempts(error, records)
    if isinstance(error, AttemptError) and (soonest_s := _earliest_retry_s(errors)) is not None:
        again = f"try again in {ceil(soonest_s)} s"
        error.hint = OptionText(error.hint, f"; or {again}") if error.hint else again
    if len(records) < 2 or not isinstance(error, AttemptError):  # noqa: PLR2004 (one, or several)
        return error
    text = f"every attempt failed: {_summaries(records)}; last error: {error.message}"
    return all_failed(text, errors, hint=error.hint, attempts=records)


def _name_nearest(refusal: BudgetExceededError, plan: Plan, records: list[AttemptRecord]) -> None:
    """Add to a refusal the model, among those that were not called, that is nearest to the budget."""
    if refusal.headroom_picousd is None or refusal.hint is not None:
        return
    nearest = plan.cheapest(but={f"{record.provider}/{record.model}" for record in records})
    if nearest is not None and nearest.least_worst_picousd is not None:
        # Rounded up, so that a budget of as much admits it.
        micro_usd = -(-nearest.least_worst_picousd // 10**6)
        refusal.hint = f"the nearest is {nearest.model.name}, which could cost ${micro_usd / 10**6:.6f}"


def _with_attempts(refusal: BudgetExceededError, records: list[AttemptRecord]) -> BudgetExceededError:
    """Add to a refusal the attempts before it."""
    if not records:
        return refusal
    text = f"{refusal.message}; failed before: {_summaries(records)}"
    after = BudgetExceededError(text, hint=refusal.hint, option=refusal.option, attempts=records)
    after.headroom_picousd, after.of_request = refusal.headroom_picousd, refusal.of_request
    return after


def _summaries(records: list[AttemptRecord]) -> str:
    return "; ".join(
        f"{record.provider}/{record.model}: {_summary(record.error or record.status, record.http_status)}"
        for record in records
    )


def _earliest_retry_s(errors: list[AttemptError]) -> float | None:
    """Return when the first open circuit allows another attempt; None where none does."""
    passing = [error for error in errors if error.exit_code == exit_codes.TRY_LATER]
    return min((_retry_delay_s(error) for error in passing), default=None)


def _retry_delay_s(error: AttemptError) -> float:
    if error.retry_after_s is not None:
        return max(error.retry_after_s, 1.0)
    trip = RULES[type(error)].trip
    return 1.0 if trip is None else trip.rest_ms / 1000


def all_failed(
    message: str, failures: Sequence[AttemptError], *, hint: str | None, attempts: Sequence[AttemptRecord]
) -> AllProvidersFailedError:
    """Return the error for failures in their order: an AllProvidersFailedError and an instance of the last one's class.

    It has the fields of the last failure and exits as that does.  `retry_after_s`, if all failures are of one class, is
    the shortest of theirs.
    """
    last = failures[-1]
    error = _class_for(type(last))(message, exit_code=last.exit_code, hint=hint, attempts=attempts)
    of_all = vars(LLMRouteError(""))
    vars(error).update({name: value for name, value in vars(last).items() if name not in of_all})
    if len({type(failure) for failure in failures}) == 1:
        waits_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
        vars(error).update(retry_after_s=min(waits_s, default=None))
    return error


def _class_for(last: type[AttemptError]) -> type[AllProvidersFailedError]:
    """Return the class of errors that are both; made when it is first needed, for few programs need more than one."""
    if last not in _CLASSES:
        body = {
            "__module__": AllProvidersFailedError.__module__,
            "__doc__": AllProvidersFailedError.__doc__,
            "__reduce__": lambda error: (_remade, (last, error.args), vars(error)),
        }
        # Two threads may both make it: the first one's is kept.
        _CLASSES.setdefault(last, type(AllProvidersFailedError.__name__, (AllProvidersFailedError, last), body))
    return _CLASSES[last]


def _remade(last: type[AttemptError], args: tuple[Any, ...]) -> LLMRouteError:
    return remade(_class_for(last), args)
