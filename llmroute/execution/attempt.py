"""One attempt: begin it in the ledger, call the provider, settle it.  A generator of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.circuits import tier_of_circuits
from llmroute.errors import (
    AttemptError,
    BudgetExceededError,
    CheckFaultError,
    CircuitOpenError,
    ProviderTimeoutError,
    RequestError,
)
from llmroute.execution.accounting.budget import Admission
from llmroute.execution.accounting.live_spans import record_span
from llmroute.execution.accounting.observations import CallContext, check_result_of, observation_of
from llmroute.execution.accounting.recorder import AttemptRecorder
from llmroute.execution.answer_check import hide_secrets
from llmroute.execution.answer_stream import AnswerStream
from llmroute.execution.operations import Begin, Blocking, Close, Done, Judge, Operation, Settle
from llmroute.execution.provider_call import ProviderCall
from llmroute.execution.timeouts import AttemptTime
from llmroute.ledger.statistics.values import ProbeClaim
from llmroute.planning.effort import expected_effort

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from llmroute.errors import CheckError
    from llmroute.execution.request import RequestContext
    from llmroute.ledger.statistics.values import Observation
    from llmroute.routing.actions import Try
    from llmroute.routing.parameters import Adaptation
    from llmroute.schema.document import AnswerDocument
    from llmroute.types import AttemptRecord, Check, Completion, LLMResponse, SkippedModel


class Attempt:
    """One call to one provider, with its row in the ledger.

    `before` are the earlier attempts of the request.  `settle_interrupted` settles an attempt that was interrupted,
    after which the driver performs no more operations.
    """

    def __init__(
        self,
        request: RequestContext,
        action: Try,
        before: Sequence[AttemptRecord],
        skipped: Sequence[SkippedModel],
        settle_interrupted: Callable[[Settle], None],
    ) -> None:
        self._request = request
        self._action = action
        self._candidate = action.entry.candidate
        self._skipped = tuple(skipped)
        self._settle_interrupted = settle_interrupted
        self._time = AttemptTime(request, alone=action.alone)
        self._recorder = AttemptRecorder(request, action, tuple(before))
        self._stream = AnswerStream(request, self._time, self._recorder)
        self._provider_call = ProviderCall(request, action, self._time, self._recorder, self._stream)
        self._settled = False
        self.begun = False
        """Whether the attempt is in the ledger."""
        self.error: AttemptError | BudgetExceededError | None = None

    @property
    def released(self) -> bool:
        """Whether the caller has received text of the answer."""
        return self._stream.buffer.released

    @property
    def adaptation(self) -> Adaptation | None:
        """The change of the request that the provider may accept, after it rejected a parameter."""
        return self._provider_call.adaptation

    def run(self) -> Generator[Operation, Any, None]:
        """Make the attempt; afterwards `error` is its failure, None if the answer was emitted and settled.

        Raises:
            RequestError: the service was closed meanwhile.
        """
        recorder, call, patience = self._recorder, self._provider_call, self._request.patience
        try:
            try:
                max_tokens = yield Begin(recorder.row, self._admission(), self._request.clock, patience)
            except (BudgetExceededError, CircuitOpenError) as refusal:
                self.error = refusal
                return
            self.begun = True
            answer = yield from self._called(max_tokens)
            if answer is None:
                return
            response = recorder.close_answered(*answer, call.limit, self._skipped)
            if self._request.check is not None:
                self.error = yield from self._judge(self._request.check, response)
                if self.error is not None:
                    return
            yield from self._stream.emit()
            yield Done(response)
            if not self._settled:
                yield Settle(recorder.row, self._observation(None), patience=patience)
        except BaseException:
            # Interrupted or cancelled, or the caller closed the iterator.
            if not recorder.closed:
                recorder.close_interrupted(call.partial_answer(), sent=call.sent)
            if not self._settled:
                self._settle_interrupted(Settle(recorder.row, self._observation(None), patience=patience))
            raise
        finally:
            if recorder.closed:
                record_span(recorder.row)

    def _called(
        self, max_tokens: int | None
    ) -> Generator[Operation, Any, tuple[Completion, AnswerDocument | None] | None]:
        """Call the provider; return its answer and the document in it, or settle the failure and return None.

        Raises:
            RequestError: the service was closed meanwhile.
        """
        try:
            completion = yield from self._provider_call.run(max_tokens)
            document = yield from self._document(completion)
        except AttemptError as error:
            if not self._request.is_closed():
                yield from self._fail(error)
                return None
            # The program ended it, not the provider.
            from llmroute.transport.errors import CLOSED_MEANWHILE

            yield from self._interrupt()
            raise RequestError(CLOSED_MEANWHILE) from error
        return completion, document

    def _fail(self, error: AttemptError) -> Generator[Operation, Any, None]:
        """Settle a failed call."""
        recorder, call = self._recorder, self._provider_call
        call.explain(error)
        recorder.close_failed(error, call.partial_answer(), sent=error.sent and call.sent, released=self.released)
        self._request.budget.pay(recorder.row)
        yield Close()
        yield Settle(recorder.row, self._observation(error), error, self._request.patience)
        self.error = error

    def _interrupt(self) -> Generator[Operation, Any, None]:
        """Settle a call whose connection the program closed."""
        recorder, call = self._recorder, self._provider_call
        recorder.close_interrupted(call.partial_answer(), sent=call.sent)
        self._request.budget.pay(recorder.row)
        yield Close()
        yield Settle(recorder.row, self._observation(None), patience=self._request.patience)
        self._settled = True

    def _document(self, completion: Completion) -> Generator[Operation, Any, AnswerDocument | None]:
        """Return the document that an answer is, None where the request has no schema.

        Raises:
            SchemaError: it is not valid.
        """
        schema, model, limit = self._request.prompt.schema, self._candidate.model, self._provider_call.limit
        if schema is None:
            return None
        from llmroute.execution.answer_check import document_of

        document: AnswerDocument = yield Blocking(lambda: document_of(completion, schema, model, limit))
        return document

    def _judge(self, check: Check, response: LLMResponse) -> Generator[Operation, Any, CheckError | None]:
        """Settle an answer before its check, so that it is in the ledger in any case; return its rejection.

        Raises:
            CheckFaultError: the check had no result.
        """
        recorder, patience = self._recorder, self._request.patience
        yield Close()
        yield Settle(recorder.row, self._observation(None), patience=patience)
        self._settled = True
        began_s = self._request.clock()
        try:
            rejection: CheckError | None = yield Judge(check, response)
        except CheckFaultError as fault:
            hide_secrets(fault, self._request.endpoints.redaction)
            fault.response, fault.attempts = response, response.attempts
            raise
        finally:
            # A check has a time limit of its own.
            seconds = self._request.clock() - began_s
            self._request.clock.leave_out(seconds)
            patience.leave_out(seconds)
        if rejection is not None:
            hide_secrets(rejection, self._request.endpoints.redaction)
            recorder.reject(rejection)
            self._request.budget.pay(recorder.row)
        passed = rejection is None
        yield Settle(recorder.row, check_result_of(recorder.row, passed=passed), rejection, patience)
        return rejection

    def _admission(self) -> Admission:
        return Admission(self._candidate.worst, self._request.budget, self._probe_claim(), retry=self._action.retry)

    def _probe_claim(self) -> ProbeClaim | None:
        """Return the claim to probe a half-open circuit; None for the last candidate, which is called anyway."""
        request, action = self._request, self._action
        if action.alone:
            return None
        now_ms = request.now_ms()
        until_ms = now_ms + round(request.timeouts.total_s * 1000)
        again = action.retry or action.adaptation is not None or action.repair is not None
        awake = again or self._candidate.stats.ignore_circuit or request.paced
        return ProbeClaim(request.id, now_ms, until_ms, self._fingerprint(), awake, self._tier)

    def _observation(self, error: AttemptError | None) -> Observation:
        timeouts = self._request.timeouts
        if isinstance(error, ProviderTimeoutError) and self._time.was_short:
            error = None
        call = CallContext(
            prompt=self._recorder.prompt,
            effort=expected_effort(self._candidate.model, self._request.prompt.effort),
            tier=self._tier,
            fingerprint=self._fingerprint(),
            first_token_s=timeouts.slow_first_token_s if self._candidate.local else timeouts.first_token_s,
            per_token_s=self._candidate.stats.s_per_token,
        )
        return observation_of(self._recorder.row, error, call)

    @property
    def _tier(self) -> str:
        return tier_of_circuits(self._request.prompt.tier)

    def _fingerprint(self) -> str:
        return self._request.endpoints.fingerprint(self._action.entry.model.provider)

    def record(self) -> AttemptRecord:
        """Return the record of the attempt for the caller."""
        return self._recorder.record()
