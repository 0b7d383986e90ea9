"""One request from plan to answer, written once: a generator that yields what a driver must do.

The synchronous driver and the asynchronous one (`drive`) perform the same operations, so no rule is written twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import (
    AllProvidersFailedError,
    AttemptError,
    BudgetExceededError,
    DeadlineError,
    IncompleteAnswerError,
    RestingError,
)
from llmroute.routing.fallback import Outcome, Policy, Try, Wait, attempt_loop
from llmroute.routing.router import is_upgrade
from llmroute.service.attempt import Attempt
from llmroute.service.bookkeeping import usd
from llmroute.service.operations import Blocking, Sleep

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmroute.service.call import Call
    from llmroute.service.operations import Operation
    from llmroute.types import AttemptRecord

TRY_LATER = AttemptError.exit_code


def run(call: Call) -> Generator[Operation, Any, None]:
    """Yield operations until the answer is out and settled.

    Raises:
        AttemptError: the only attempt failed.
        AllProvidersFailedError: every attempt failed.
        IncompleteAnswerError, DeadlineError, BudgetExceededError: as their names say.
    """
    started = call.clock()
    policy = Policy(call.timeouts.total_s, call.fallback_on_content, call.jitter, call.cheaper)
    loop = attempt_loop(call.plan.entries, policy)
    records: list[AttemptRecord] = []
    waits_s: list[float] = []
    try:
        action = next(loop)
        while True:
            if isinstance(action, Wait):
                yield Sleep(action.seconds)
                error, shown, retry_allowed = None, False, True
            else:
                error, shown = yield from _try(call, action, started, records)
                retry_allowed = error is None or (yield from _retry_allowed(call, action))
                if isinstance(error, AttemptError) and error.retry_after_s is not None:
                    waits_s.append(error.retry_after_s)
            action = loop.send(Outcome(call.clock() - started, error, shown, retry_allowed))
    except StopIteration:
        return
    except (AttemptError, BudgetExceededError, IncompleteAnswerError, DeadlineError) as error:
        final = _final(error, records, waits_s)
        raise final from (error.__cause__ if final is error else error)


def _try(
    call: Call, action: Try, started: float, records: list[AttemptRecord]
) -> Generator[Operation, Any, tuple[AttemptError | BudgetExceededError | None, bool]]:
    if action.fell_from is not None:
        _tell_fallback(call, action)
    attempt = Attempt(call, action, started, tuple(records))
    error = yield from attempt.run()
    if not isinstance(error, BudgetExceededError | RestingError):
        records.append(attempt.record())
    return error, attempt.shown


def _retry_allowed(call: Call, action: Try) -> Generator[Operation, Any, bool]:
    provider = action.entry.model.provider
    allowed: bool = yield Blocking(lambda: call.books.retry_allowed(provider, call.now_ms()))
    return allowed


def _tell_fallback(call: Call, action: Try) -> None:
    failure = action.fell_from
    assert failure is not None
    error = failure.error
    if isinstance(error, BudgetExceededError):
        call.note(f"{error.message}; using {action.entry.model.name}")
        return
    what = str(error.http_status) if error.http_status else error.kind.replace("_", " ")
    tries = "1 try" if failure.calls == 1 else f"{failure.calls} tries"
    price = ""
    if is_upgrade(action.entry, call.plan.entries[0]):
        cost = usd(action.entry.candidate.expected_cost_picousd)
        price = ", which costs nobody knows what" if cost is None else f", which costs about ${cost:.2g}"
    call.note(f"{failure.entry.model.name}: {what} after {tries}, using {action.entry.model.name}{price}")


def _final(
    error: AttemptError | BudgetExceededError | IncompleteAnswerError | DeadlineError,
    records: list[AttemptRecord],
    waits_s: list[float],
) -> Exception:
    """Give the last error every attempt; several failed attempts become one error that names them all."""
    error.attempts = tuple(records)
    if isinstance(error, BudgetExceededError):
        return _after(error, records)
    if len(records) < 2 or not isinstance(error, AttemptError):  # noqa: PLR2004 (one, or several)
        return error
    told = _told(records)
    hint = error.hint
    if hint is None and error.exit_code == TRY_LATER:
        hint = f"try again in {min(waits_s):.0f} s" if waits_s else "try again later"
    return AllProvidersFailedError(
        f"every attempt failed ({told}); last: {error.message}",
        exit_code=error.exit_code,
        hint=hint,
        attempts=records,
    )


def _after(refusal: BudgetExceededError, records: list[AttemptRecord]) -> BudgetExceededError:
    """Let a refusal say which attempts went before it."""
    if not records:
        return refusal
    told = f"{refusal.message}; before it {_told(records)}"
    return BudgetExceededError(told, hint=refusal.hint, attempts=records)


def _told(records: list[AttemptRecord]) -> str:
    return "; ".join(f"{r.provider}/{r.model}: {r.http_status or ''} {r.error}".replace(":  ", ": ") for r in records)
