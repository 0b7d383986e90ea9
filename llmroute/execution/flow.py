"""One request from plan to answer, written once: a generator that yields what a driver must do.

The synchronous driver and the asynchronous one (`drive`) perform the same operations, so no rule is written twice.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes
from llmroute.errors import (
    AttemptError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineError,
    IncompleteAnswerError,
    ModelGoneError,
    RejectedError,
    SchemaError,
)
from llmroute.execution.attempt import Attempt
from llmroute.execution.operations import Blocking, Sleep
from llmroute.execution.provider_call import OK
from llmroute.planning.skipped_models import SkippedModels, first_choice_note, price_note, skip_note
from llmroute.routing.actions import Failure, MoreCandidates, Outcome, Try, Wait
from llmroute.routing.fallback import RULES, SOON_S, attempt_loop
from llmroute.text.option_names import OptionText

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from llmroute.execution.operations import Operation, Settle
    from llmroute.execution.request import RequestContext
    from llmroute.routing.actions import Repair
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


def run(request: RequestContext, settle_interrupted: Callable[[Settle], None]) -> Generator[Operation, Any, None]:
    """Yield operations until the answer is emitted and settled; `settle_interrupted` as for `Attempt`.

    Raises:
        AttemptError: the only attempt failed.
        AllProvidersFailedError: every attempt failed; it is of the class of the last failure too.
        IncompleteAnswerError, DeadlineError, BudgetExceededError: as their names say.
    """
    started = request.clock.started_s
    loop = attempt_loop(request.plan.entries, request.policy, others=request.others is not None)
    records: list[AttemptRecord] = []
    errors: list[AttemptError] = []
    skipped_models = SkippedModels(request.plan)
    plan = request.plan
    try:
        action = next(loop)
        while True:
            if isinstance(action, Wait):
                _note_wait(request, action)
                yield Sleep(action.seconds)
                outcome = Outcome(request.clock() - started)
            elif isinstance(action, MoreCandidates):
                assert request.others is not None
                rest = yield Blocking(request.others)
                plan = rest._replace(entries=(*plan.entries, *rest.entries))
                outcome = Outcome(request.clock() - started, entries=rest.entries)
            else:
                attempt = yield from _try(request, action, records, skipped_models, settle_interrupted)
                error = attempt.error
                allowed = error is None or (yield from _retry_allowed(request, action))
                if isinstance(error, AttemptError):
                    errors.append(error)
                outcome = Outcome(
                    request.clock() - started,
                    error,
                    attempt.released,
                    allowed,
                    attempt.adaptation,
                    _repair(request, action, error),
                )
            action = loop.send(outcome)
    except StopIteration:
        return
    except (AttemptError, BudgetExceededError, IncompleteAnswerError, DeadlineError) as error:
        if (left := skipped_models.before(None)) and request.plan.named:
            request.note(skip_note(left))
        if isinstance(error, BudgetExceededError):
            _name_nearest(error, plan, records)
        final = _final(error, records, errors)
        raise final from (error.__cause__ if final is error else error)


def _try(
    request: RequestContext,
    action: Try,
    records: list[AttemptRecord],
    skipped_models: SkippedModels,
    settle_interrupted: Callable[[Settle], None],
) -> Generator[Operation, Any, Attempt]:
    skips = skipped_models.before(action.entry)
    if action.fell_from is not None:
        text = _fallback_note(request, action, action.fell_from)
        request.note(OptionText(text, "; ", skip_note(skips)) if skips and request.plan.named else text)
    elif skips and not records and (at_first := first_choice_note(request.plan)) is not None:
        request.note(at_first)
    attempt = Attempt(request, action, records, skipped_models.skipped, settle_interrupted)
    yield from attempt.run()
    if isinstance(attempt.error, BudgetExceededError | CircuitOpenError):
        skipped_models.add(action.entry.model, attempt.error.message)
    else:
        records.append(attempt.record())
        request.on_attempt(records[-1])
    return attempt


def _retry_allowed(request: RequestContext, action: Try) -> Generator[Operation, Any, bool]:
    provider = action.entry.model.provider
    allowed: bool = yield Blocking(lambda: request.writer.retry_allowed(provider, request.now_ms(), request.patience))
    return allowed


def _repair(request: RequestContext, action: Try, error: Exception | None) -> Repair | None:
    """Return how to ask a model to correct an invalid answer, once."""
    if not isinstance(error, SchemaError) or action.repair is not None:
        return None
    from llmroute.execution.answer_check import repair_of

    repair = repair_of(error, request.prompt, action.entry)
    if repair is not None:
        request.note(f"{action.entry.model.name}: {error.message}; asking it to correct the answer")
    return repair


def _fallback_note(request: RequestContext, action: Try, failure: Failure) -> str:
    """Return in words what an attempt stands in for, and what it costs where that is far more."""
    error, failed = failure.error, failure.entry.model
    using = f"using {action.entry.model.name}{price_note(action.entry, request.plan)}"
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


def _note_wait(request: RequestContext, action: Wait) -> None:
    """Say that the request waits, and for how long, where that is longer than a moment."""
    if action.seconds <= SOON_S:
        return
    called, deadline_s = action.entry.model.name, request.timeouts.total_s
    request.note(
        f"{called}: {_summary(action.error.kind, action.error.http_status)}, no fallback left;"
        f" retry in {ceil(action.seconds)} s (request timeout {deadline_s:g} s)"
    )


def _summary(kind: str, status: int | None) -> str:
    """Return a failure in a few words, with the HTTP status if it was an error status."""
    words = _SUMMARIES.get(kind, kind.replace("_", " "))
    return words if status in (None, OK) else f"{words} ({status})"


def _name_nearest(refusal: BudgetExceededError, plan: Plan, records: list[AttemptRecord]) -> None:
    """Let a refusal say which model, of those that were not called, comes nearest to the budget."""
    if refusal.headroom_picousd is None or refusal.hint is not None:
        return
    nearest = plan.cheapest(but={f"{record.provider}/{record.model}" for record in records})
    if nearest is not None and nearest.least_worst_picousd is not None:
        # Rounded up, so that a budget of as much admits it.
        micro_usd = -(-nearest.least_worst_picousd // 10**6)
        refusal.hint = f"the nearest is {nearest.model.name}, which could cost ${micro_usd / 10**6:.6f}"


def _final(
    error: AttemptError | BudgetExceededError | IncompleteAnswerError | DeadlineError,
    records: list[AttemptRecord],
    errors: list[AttemptError],
) -> Exception:
    """Give the last error every attempt; several failed attempts become one error that names them all."""
    error.attempts = tuple(records)
    if isinstance(error, BudgetExceededError):
        return _with_attempts(error, records)
    if isinstance(error, AttemptError) and (soonest_s := _earliest_retry_s(errors)) is not None:
        again = f"try again in {ceil(soonest_s)} s"
        error.hint = _join_hints(error.hint, f"; or {again}") if error.hint else again
    if len(records) < 2 or not isinstance(error, AttemptError):  # noqa: PLR2004 (one, or several)
        return error
    from llmroute.execution.combined_error import all_failed

    text = f"every attempt failed: {_summaries(records)}; last error: {error.message}"
    return all_failed(text, errors, hint=error.hint, attempts=records)


def _with_attempts(refusal: BudgetExceededError, records: list[AttemptRecord]) -> BudgetExceededError:
    """Let a refusal say which attempts went before it."""
    if not records:
        return refusal
    text = f"{refusal.message}; failed before: {_summaries(records)}"
    after = BudgetExceededError(text, hint=refusal.hint, option=refusal.option, attempts=records)
    after.headroom_picousd, after.of_request = refusal.headroom_picousd, refusal.of_request
    return after


def _join_hints(hint: str, more: str) -> str:
    from llmroute.text.option_names import OptionText

    return OptionText(hint, more)


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
