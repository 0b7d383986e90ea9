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
)
from llmroute.execution.attempt import Attempt
from llmroute.execution.operations import Blocking, Sleep
from llmroute.execution.provider_call import OK
from llmroute.planning.skipped_models import SkippedModels, first_choice_note, price_note, skip_note
from llmroute.routing.actions import Failure, MoreCandidates, Outcome, Policy, Try, Wait
from llmroute.routing.fallback import RULES, SOON_S, attempt_loop
from llmroute.text.option_names import OptionText

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from llmroute.execution.operations import Operation, Settle
    from llmroute.execution.request import RequestContext
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
}
"""The failures in words, by `AttemptError.kind`."""


def run(call: RequestContext, settle_interrupted: Callable[[Settle], None]) -> Generator[Operation, Any, None]:
    """Yield operations until the answer is emitted and settled; `settle_interrupted` as for `Attempt`.

    Raises:
        AttemptError: the only attempt failed.
        AllProvidersFailedError: every attempt failed; it is of the class of the last failure too.
        IncompleteAnswerError, DeadlineError, BudgetExceededError: as their names say.
    """
    started = call.clock.started_s
    policy = Policy(
        call.timeouts.total_s, call.fallback_on_content, call.jitter, call.cheaper, call.prompt, call.max_attempts
    )
    loop = attempt_loop(call.plan.entries, policy, others=call.others is not None)
    records: list[AttemptRecord] = []
    errors: list[AttemptError] = []
    passed = SkippedModels(call.plan)
    known = call.plan
    try:
        action = next(loop)
        while True:
            if isinstance(action, Wait):
                _tell_wait(call, action)
                yield Sleep(action.seconds)
                outcome = Outcome(call.clock() - started)
            elif isinstance(action, MoreCandidates):
                assert call.others is not None
                rest = yield Blocking(call.others)
                known = rest._replace(entries=(*known.entries, *rest.entries))
                outcome = Outcome(call.clock() - started, entries=rest.entries)
            else:
                attempt = yield from _try(call, action, records, passed, settle_interrupted)
                error = attempt.error
                allowed = error is None or (yield from _retry_allowed(call, action))
                if isinstance(error, AttemptError):
                    errors.append(error)
                outcome = Outcome(call.clock() - started, error, attempt.released, allowed, attempt.adaptation)
            action = loop.send(outcome)
    except StopIteration:
        return
    except (AttemptError, BudgetExceededError, IncompleteAnswerError, DeadlineError) as error:
        if (left := passed.before(None)) and call.plan.named:
            call.note(skip_note(left))
        if isinstance(error, BudgetExceededError):
            _name_nearest(error, known, records)
        final = _final(error, records, errors)
        raise final from (error.__cause__ if final is error else error)


def _try(
    call: RequestContext,
    action: Try,
    records: list[AttemptRecord],
    passed: SkippedModels,
    settle_interrupted: Callable[[Settle], None],
) -> Generator[Operation, Any, Attempt]:
    skips = passed.before(action.entry)
    if action.fell_from is not None:
        told = _told_fallback(call, action, action.fell_from)
        call.note(OptionText(told, "; ", skip_note(skips)) if skips and call.plan.named else told)
    elif skips and not records and (at_first := first_choice_note(call.plan)) is not None:
        call.note(at_first)
    attempt = Attempt(call, action, records, passed.skipped, settle_interrupted)
    yield from attempt.run()
    if isinstance(attempt.error, BudgetExceededError | CircuitOpenError):
        passed.add(action.entry.model, attempt.error.message)
    else:
        records.append(attempt.record())
        call.on_attempt(records[-1])
    return attempt


def _retry_allowed(call: RequestContext, action: Try) -> Generator[Operation, Any, bool]:
    provider = action.entry.model.provider
    allowed: bool = yield Blocking(lambda: call.books.retry_allowed(provider, call.now_ms(), call.patience))
    return allowed


def _told_fallback(call: RequestContext, action: Try, failure: Failure) -> str:
    """Return in words what an attempt stands in for, and what it costs where that is far more."""
    error, failed = failure.error, failure.entry.model
    using = f"using {action.entry.model.name}{price_note(action.entry, call.plan)}"
    if isinstance(error, BudgetExceededError):
        return f"{error.message}; {using}"
    if isinstance(error, CircuitOpenError):
        return f"{failed.name}: {error.message}, {using}"
    rule = RULES[type(error)]
    if rule.warn and rule.trip is not None:
        culprit = failed.name if isinstance(error, ModelGoneError) else failed.provider
        status = f" ({error.http_status})" if error.http_status else ""
        return f"warning: {culprit}: {rule.trip.reason.value}{status}, {using}"
    attempts = "1 attempt" if failure.calls == 1 else f"{failure.calls} attempts"
    return f"{failed.name}: {_summary(error.kind, error.http_status)} after {attempts}, {using}"


def _tell_wait(call: RequestContext, action: Wait) -> None:
    """Say that the request waits, and for how long, where that is longer than a moment."""
    if action.seconds <= SOON_S:
        return
    called, deadline_s = action.entry.model.name, call.timeouts.total_s
    call.note(
        f"{called}: {_summary(action.error.kind, action.error.http_status)}, no fallback left;"
        f" retry in {ceil(action.seconds)} s (request timeout {deadline_s:g} s)"
    )


def _summary(kind: str, status: int | None) -> str:
    """Return a failure in a few words, with the HTTP status if it was an error status."""
    words = _SUMMARIES.get(kind, kind.replace("_", " "))
    return words if status in (None, OK) else f"{words} ({status})"


def _name_nearest(refusal: BudgetExceededError, known: Plan, records: list[AttemptRecord]) -> None:
    """Let a refusal say which model, of those that were not called, comes nearest to the budget."""
    if refusal.headroom_picousd is None or refusal.hint is not None:
        return
    nearest = known.cheapest(but={f"{record.provider}/{record.model}" for record in records})
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
        return _after(error, records)
    if isinstance(error, AttemptError) and (soonest_s := _soonest_s(errors)) is not None:
        again = f"try again in {ceil(soonest_s)} s"
        error.hint = _joined(error.hint, f"; or {again}") if error.hint else again
    if len(records) < 2 or not isinstance(error, AttemptError):  # noqa: PLR2004 (one, or several)
        return error
    from llmroute.execution.combined_error import all_failed

    told = f"every attempt failed: {_told(records)}; last error: {error.message}"
    return all_failed(told, errors, hint=error.hint, attempts=records)


def _after(refusal: BudgetExceededError, records: list[AttemptRecord]) -> BudgetExceededError:
    """Let a refusal say which attempts went before it."""
    if not records:
        return refusal
    told = f"{refusal.message}; failed before: {_told(records)}"
    after = BudgetExceededError(told, hint=refusal.hint, option=refusal.option, attempts=records)
    after.headroom_picousd, after.of_request = refusal.headroom_picousd, refusal.of_request
    return after


def _joined(hint: str, more: str) -> str:
    from llmroute.text.option_names import OptionText

    return OptionText(hint, more)


def _told(records: list[AttemptRecord]) -> str:
    return "; ".join(
        f"{record.provider}/{record.model}: {_summary(record.error or record.status, record.http_status)}"
        for record in records
    )


def _soonest_s(errors: list[AttemptError]) -> float | None:
    """Return when the first of those who may be well again by themselves is worth another try; None where none is."""
    passing = [error for error in errors if error.exit_code == exit_codes.TRY_LATER]
    return min((_rest_s(error) for error in passing), default=None)


def _rest_s(error: AttemptError) -> float:
    if error.retry_after_s is not None:
        return max(error.retry_after_s, 1.0)
    trip = RULES[type(error)].trip
    return 1.0 if trip is None else trip.rest_ms / 1000
