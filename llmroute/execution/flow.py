"""One request from plan to answer, written once: a generator of the operations that a driver performs.

The synchronous driver and the asynchronous one (`drive`) perform the same operations, so no rule is written twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import (
    AttemptError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineError,
    IncompleteAnswerError,
    RequestError,
    SchemaError,
)
from llmroute.execution.attempt import Attempt
from llmroute.execution.operations import Blocking, Sleep
from llmroute.planning.skipped_models import SkippedModels, first_choice_note, skip_note
from llmroute.routing.actions import MoreCandidates, Outcome, Try, Wait
from llmroute.routing.attempt_loop import attempt_loop
from llmroute.routing.fallback import SOON_S
from llmroute.text.option_text import OptionText

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from llmroute.execution.operations import Operation, Settle
    from llmroute.execution.request import RequestContext
    from llmroute.routing.actions import Repair
    from llmroute.types import AttemptRecord


class RequestFlow:
    """The attempts of one request; `settle_interrupted` as for `Attempt`."""

    def __init__(self, request: RequestContext, settle_interrupted: Callable[[Settle], None]) -> None:
        self._request = request
        self._settle_interrupted = settle_interrupted
        self._plan = request.plan
        self._records: list[AttemptRecord] = []
        self._errors: list[AttemptError] = []
        self._skipped_models = SkippedModels(request.plan)

    def run(self) -> Generator[Operation, Any, None]:
        """Yield operations until the answer is emitted and settled.

        Raises:
            AttemptError: the only attempt failed.
            AllProvidersFailedError: every attempt failed; it is of the class of the last failure too.
            IncompleteAnswerError, DeadlineError, BudgetExceededError: as their names say.
            RequestError: the service was closed meanwhile.
        """
        request = self._request
        loop = attempt_loop(request.plan.entries, request.policy, others=request.others is not None)
        try:
            action = next(loop)
            while True:
                action = loop.send((yield from self._outcome(action)))
        except StopIteration:
            return
        except (AttemptError, BudgetExceededError, IncompleteAnswerError, DeadlineError) as error:
            from llmroute.execution.failures import final_error

            if (left := self._skipped_models.before(None)) and request.plan.named:
                request.note(skip_note(left))
            final = final_error(error, self._plan, self._records, self._errors)
            raise final from (error.__cause__ if final is error else error)

    def _outcome(self, action: Try | Wait | MoreCandidates) -> Generator[Operation, Any, Outcome]:
        if isinstance(action, Wait):
            if action.seconds > SOON_S:
                from llmroute.execution.failures import wait_note

                self._request.note(wait_note(action, self._request.timeouts.total_s))
            yield Sleep(action.seconds)
            return Outcome(self._elapsed_s())
        if isinstance(action, MoreCandidates):
            assert self._request.others is not None
            rest = yield Blocking(self._request.others)
            self._plan = rest._replace(entries=(*self._plan.entries, *rest.entries))
            return Outcome(self._elapsed_s(), entries=rest.entries)
        return (yield from self._try(action))

    def _try(self, action: Try) -> Generator[Operation, Any, Outcome]:
        request, skipped_models = self._request, self._skipped_models
        self._note_fallback(action)
        if action.repair is not None and not action.retry:
            request.note(f"{action.entry.model.name}: {self._errors[-1].message}; asking it to correct the answer")
        attempt = Attempt(request, action, self._records, skipped_models.skipped, self._settle_interrupted)
        try:
            yield from attempt.run()
        except BaseException as fault:
            if attempt.begun:
                record = attempt.record()
                request.on_attempt(record)
                if isinstance(fault, RequestError):
                    fault.attempts = (*self._records, record)
            raise
        error = attempt.error
        if isinstance(error, BudgetExceededError | CircuitOpenError):
            skipped_models.add(action.entry.model, error.message)
        else:
            self._records.append(attempt.record())
            request.on_attempt(self._records[-1])
        allowed = error is None or (yield from self._retry_allowed(action))
        if isinstance(error, AttemptError):
            self._errors.append(error)
        repair = self._repair(action, error)
        return Outcome(self._elapsed_s(), error, attempt.released, allowed, attempt.adaptation, repair)

    def _elapsed_s(self) -> float:
        return self._request.clock() - self._request.clock.started_s

    def _note_fallback(self, action: Try) -> None:
        """Note which model replaces which, and which models were skipped."""
        request, skips = self._request, self._skipped_models.before(action.entry)
        if action.fell_from is not None:
            from llmroute.execution.failures import fallback_note

            text = fallback_note(request.plan, action, action.fell_from)
            request.note(OptionText(text, "; ", skip_note(skips)) if skips and request.plan.named else text)
        elif skips and not self._records and (at_first := first_choice_note(request.plan)) is not None:
            request.note(at_first)

    def _retry_allowed(self, action: Try) -> Generator[Operation, Any, bool]:
        request, provider = self._request, action.entry.model.provider
        allowed: bool = yield Blocking(
            lambda: request.writer.statistics.retry_allowed(provider, request.now_ms(), request.patience)
        )
        return allowed

    def _repair(self, action: Try, error: Exception | None) -> Repair | None:
        """Return how to ask a model to correct an invalid answer, once."""
        if not isinstance(error, SchemaError) or action.repair is not None:
            return None
        from llmroute.execution.answer_check import repair_of

        return repair_of(error, self._request.prompt, action.entry)
