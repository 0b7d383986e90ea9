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
    DeadlineError,
    IncompleteAnswerError,
    ModelGoneError,
    RestingError,
)
from llmroute.routing.actions import Others, Outcome, Policy, Try, Wait
from llmroute.routing.fallback import RULES, SOON_S, attempt_loop
from llmroute.routing.router import is_upgrade
from llmroute.service.attempt import Attempt
from llmroute.service.costing import usd
from llmroute.service.lessons import TRIPS
from llmroute.service.operations import Blocking, Sleep

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmroute.service.call import Call
    from llmroute.service.operations import Operation
    from llmroute.types import AttemptRecord


def run(call: Call) -> Generator[Operation, Any, None]:
    """Yield operations until the answer is out and settled.

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
    try:
        action = next(loop)
        while True:
            if isinstance(action, Wait):
                _tell_wait(call, action)
                yield Sleep(action.seconds)
                outcome = Outcome(call.clock() - started)
            elif isinstance(action, Others):
                assert call.others is not None
                entries = yield Blocking(call.others)
                outcome = Outcome(call.clock() - started, entries=entries)
            else:
                attempt = yield from _try(call, action, started, records)
                error = attempt.error
                allowed = error is None or (yield from _retry_allowed(call, action))
                if isinstance(error, AttemptError):
                    errors.append(error)
                outcome = Outcome(call.clock() - started, error, attempt.shown, allowed, attempt.adaptation)
            action = loop.send(outcome)
    except StopIteration:
        return
    except (AttemptError, BudgetExceededError, IncompleteAnswerError, DeadlineError) as error:
        final = _final(error, records, errors)
        raise final from (error.__cause__ if final is error else error)


def _try(call: Call, action: Try, started: float, records: list[AttemptRecord]) -> Generator[Operation, Any, Attempt]:
    if action.fell_from is not None:
        _tell_fallback(call, action)
    attempt = Attempt(call, action, started, tuple(records))
    yield from attempt.run()
    if not isinstance(attempt.error, BudgetExceededError | RestingError):
        records.append(attempt.record())
        call.on_attempt(records[-1])
    return attempt


def _retry_allowed(call: Call, action: Try) -> Generator[Operation, Any, bool]:
    provider = action.entry.model.provider
    allowed: bool = yield Blocking(lambda: call.books.retry_allowed(provider, call.now_ms()))
    return allowed


def _tell_fallback(call: Call, action: Try) -> None:
    failure = action.fell_from
    assert failure is not None
    error = failure.error
    if isinstance(error, BudgetExceededError):
        call.note(f"{error.message}; using {action.entry.model.name}{_price_of_upgrade(call, action)}")
        return
    using = f"using {action.entry.model.name}{_price_of_upgrade(call, action)}"
    if isinstance(error, RestingError):
        call.note(f"{failure.entry.model.name}: {error.message}, {using}")
        return
    if RULES[type(error)].warn:
        who = failure.entry.model.name if isinstance(error, ModelGoneError) else failure.entry.model.provider
        status = f" ({error.http_status})" if error.http_status else ""
        call.note(f"warning: {who}: {TRIPS[type(error)].reason}{status}, {using}")
        return
    tries = "1 try" if failure.calls == 1 else f"{failure.calls} tries"
    call.note(f"{failure.entry.model.name}: {_in_short(error)} after {tries}, {using}")


def _tell_wait(call: Call, action: Wait) -> None:
    """Say that the request waits, and for how long, where that is longer than a moment."""
    if action.seconds <= SOON_S:
        return
    called, deadline_s = action.entry.model.name, call.timeouts.total_s
    call.note(
        f"{called}: {_in_short(action.error)}, and no other model is left: waiting {ceil(action.seconds)} s"
        f" to ask it again (of {deadline_s:g} s in all)"
    )


def _in_short(error: AttemptError) -> str:
    return str(error.http_status) if error.http_status else error.kind.replace("_", " ")


def _price_of_upgrade(call: Call, action: Try) -> str:
    if not is_upgrade(action.entry, call.plan.entries[0]):
        return ""
    cost = usd(action.entry.candidate.expected_cost_picousd)
    return ", which costs nobody knows what" if cost is None else f", which costs about ${cost:.2g}"


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
    from llmroute.service.several import all_failed

    told = f"every attempt failed ({_told(records)}); last: {error.message}"
    return all_failed(told, errors, hint=error.hint, attempts=records)


def _after(refusal: BudgetExceededError, records: list[AttemptRecord]) -> BudgetExceededError:
    """Let a refusal say which attempts went before it."""
    if not records:
        return refusal
    told = f"{refusal.message}; before it {_told(records)}"
    after = BudgetExceededError(told, hint=refusal.hint, option=refusal.option, attempts=records)
    after.headroom_picousd, after.of_request = refusal.headroom_picousd, refusal.of_request
    return after


def _joined(hint: str, more: str) -> str:
    from llmroute.wording import Told

    return Told(hint, more)


def _told(records: list[AttemptRecord]) -> str:
    return "; ".join(f"{r.provider}/{r.model}: {r.http_status or ''} {r.error}".replace(":  ", ": ") for r in records)


def _soonest_s(errors: list[AttemptError]) -> float | None:
    """Return when the first of those who may be well again by themselves is worth another try; None where none is."""
    passing = [error for error in errors if error.exit_code == exit_codes.TRY_LATER]
    return min((_rest_s(error) for error in passing), default=None)


def _rest_s(error: AttemptError) -> float:
    if error.retry_after_s is not None:
        return max(error.retry_after_s, 1.0)
    trip = TRIPS.get(type(error))
    return 1.0 if trip is None else trip.rest_ms / 1000
