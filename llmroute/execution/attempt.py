"""One attempt: begin it in the ledger, send, read, judge, settle.  A generator of operations, as the flow is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.errors import (
    AttemptError,
    BudgetExceededError,
    CircuitOpenError,
    ParameterError,
    ProviderTimeoutError,
    UnreachableError,
)
from llmroute.execution.accounting.ledger_writer import Admission
from llmroute.execution.accounting.observations import lesson_of
from llmroute.execution.accounting.recorder import AttemptRecorder
from llmroute.execution.answer_check import fault_of, hide_secrets, told_harmlessly
from llmroute.execution.operations import Begin, Blocking, Close, Done, Emit, Operation, Settle
from llmroute.execution.request import no_time
from llmroute.execution.timeouts import AttemptTime
from llmroute.ledger.stats import ProbeClaim
from llmroute.planning.local.model_cache import limited
from llmroute.routing.parameters import adaptation, fitted, refused
from llmroute.text.redaction import shown
from llmroute.transport.network.send_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from llmroute.execution.request import RequestContext
    from llmroute.ledger.stats import Observation
    from llmroute.providers import Provider, StreamReader
    from llmroute.routing.actions import Try
    from llmroute.routing.parameters import Adaptation
    from llmroute.text.redaction import Redaction
    from llmroute.types import AttemptRecord, Completion, HTTPRequest, ModelConfig, Prompt, SkippedModel

# A plain answer comes whole: it may take as long as it takes to write it, at twenty tokens a second.
SLOWEST_S_PER_TOKEN = 0.05
LONG_ANSWER_TOKENS = 16_000
OK = 200


class Attempt:
    """One call to one provider.  `shown` says whether text of it has reached the caller.

    `adaptation` is how the request could be put otherwise when it was refused for a parameter.
    """

    def __init__(
        self,
        call: RequestContext,
        action: Try,
        started: float,
        before: tuple[AttemptRecord, ...],
        skipped: Sequence[SkippedModel] = (),
    ) -> None:
        self._call = call
        self._entry = action.entry
        self._alone = action.alone
        self._retry = action.retry
        self._again = action.retry or action.adaptation is not None
        self._adapted = action.adaptation
        self._time = AttemptTime(call, started, alone=action.alone)
        self._provider: Provider | None = None
        self._answer: Completion | None = None
        self._reader: StreamReader | None = None
        self._account = AttemptRecorder(call, action, started, before)
        self._skipped = tuple(skipped)
        self._cut: int | None = None
        self._progress = Progress()
        self.shown = False
        self.error: AttemptError | BudgetExceededError | None = None
        self.adaptation: Adaptation | None = None
        self._begun_to_answer = False
        self._shown_length = 0
        # Pieces that are not shown yet: of an answer that is to be whole first, or blank ones at its beginning.
        self._held: list[str] = []

    def run(self) -> Generator[Operation, Any, None]:
        """Make the attempt; its failure is in `error` then, None when the answer is out and settled."""
        account = self._account
        try:
            try:
                self._cut = yield Begin(account.row, self._admission(), self._call.clock, self._call.patience)
            except (BudgetExceededError, CircuitOpenError) as refusal:
                self.error = refusal
                return
            try:
                completion = yield from self._exchange()
            except AttemptError as error:
                self._add_hint(error)
                hide_secrets(error, self._redaction)
                account.close_failed(error, self._seen(), sent=error.sent and self._progress.sent, shown=self.shown)
                self._call.purse.pay(account.row)
                yield Close()
                yield Settle(account.row, self._lesson(error), error, self._call.patience)
                self.error = error
                return
            account.close_answered(completion)
            yield from self._let_out()
            yield Done(replace(account.response(completion), skipped=self._skipped))
            yield Settle(account.row, self._lesson(None), patience=self._call.patience)
        except BaseException:
            # Interrupted, cancelled, or the caller went away: nobody is left to perform an operation.
            if not account.closed:
                account.close_interrupted(self._seen(), sent=self._progress.sent)
            self._call.leave(account.row, self._lesson(None))
            raise

    def _admission(self) -> Admission:
        return Admission(self._entry.candidate.worst, self._call.purse, self._prober(), retry=self._retry)

    def _prober(self) -> ProbeClaim | None:
        """Who tries again what was left alone; with nobody to fall back to, it is tried whatever happens."""
        now_ms = self._call.now_ms()
        until_ms = now_ms + round(self._call.timeouts.total_s * 1000)
        if self._alone:
            return None
        mark = self._call.endpoints.fingerprint(self._entry.model.provider)
        awake = self._again or self._entry.candidate.learned.awake or self._call.paced
        return ProbeClaim(self._call.id, now_ms, until_ms, mark, awake)

    def _lesson(self, error: AttemptError | None) -> Observation:
        timeouts = self._call.timeouts
        if isinstance(error, ProviderTimeoutError) and self._time.was_hurried:
            error = None
        local = self._entry.candidate.local
        return lesson_of(
            self._account.row,
            error,
            fingerprint=self._call.endpoints.fingerprint(self._entry.model.provider),
            first_token_s=timeouts.slow_first_token_s if local else timeouts.first_token_s,
            per_token_s=self._entry.candidate.learned.s_per_token,
        )

    def record(self) -> AttemptRecord:
        """Return the attempt as it is told to the caller."""
        return self._account.record()

    def _exchange(self) -> Generator[Operation, Any, Completion]:
        call = self._call
        if self._time.left_s <= 0:
            # The wait for the ledger took it all.
            raise no_time(call.timeouts.total_s)
        self._time.begin()
        model = self._entry.model
        provider: Provider = call.endpoints.connected(model.provider) or (
            yield Blocking(lambda: call.endpoints.connect(model.provider))
        )
        self._provider = provider
        if (show := provider.render_show(model)) is not None:
            model = yield from self._shown(provider, show, model)
        prompt = self._fitted(model)
        request = self._put_otherwise(provider.render_request(prompt, model))
        self._account.note_sending(prompt, model)
        completion = yield from self._asked(provider, request, prompt)
        if completion.prompt_cut is not None and not self.shown:
            wider = provider.render_request(prompt, replace(model, own_window=completion.prompt_cut.window))
            if (again := self._put_otherwise(wider)).body != request.body:
                cut, completion = completion, (yield from self._asked_wider(provider, again, prompt, completion))
                request = request if completion is cut else again
        if (window := request.window) is not None:
            yield Blocking(lambda: call.local.keep_window(model.api_name, window))
        self._answer = completion
        if (fault := fault_of(completion)) is not None:
            raise fault
        self._tell(completion)
        return completion

    def _tell(self, completion: Completion) -> None:
        """Tell what a person should know of an answer."""
        call, name = self._call, self._entry.model.name
        if completion.warning:
            call.note(f"{name}: {completion.warning}")
        if completion.finish_reason == "length" and self._cut is not None and self._cut != call.prompt.max_tokens:
            call.note(f"{name}: its budget left it {self._cut} tokens for the answer")

    def _asked(self, provider: Provider, request: HTTPRequest, prompt: Prompt) -> Generator[Operation, Any, Completion]:
        """Send a request and read what comes."""
        call = self._call
        first_token_s = self._first_token_s(provider)
        wait_s = first_token_s
        if not prompt.streaming:
            wait_s += SLOWEST_S_PER_TOKEN * (prompt.max_tokens or LONG_ANSWER_TOKENS)
        call.trace(
            f"{self._entry.model.name}: {request.method} {shown(request.url)} ({len(request.body or b'')} bytes)"
        )
        exchange = yield self._time.opening(request, wait_s, self._progress)
        call.trace(f"{self._entry.model.name}: status {exchange.status}")
        self._account.row.http_status = exchange.status
        if exchange.status != OK:
            body = yield from self._rest()
            error = provider.parse_error(exchange.status, exchange.headers, body)
            self._find_adaptation(error, request)
            raise error
        if prompt.streaming:
            completion = yield from self._streamed(provider.open_stream(request), first_token_s)
        else:
            completion = provider.parse_completion((yield from self._rest()), request)
        self._answer = completion = told_harmlessly(completion, self._redaction)
        yield Close()
        return completion

    def _asked_wider(
        self, provider: Provider, request: HTTPRequest, prompt: Prompt, cut: Completion
    ) -> Generator[Operation, Any, Completion]:
        """Ask once more, for a window that the whole prompt fits into; where that fails, the first answer stands."""
        held, self._held = self._held, []
        length, self._shown_length = self._shown_length, 0
        self._answer = cut
        try:
            return (yield from self._asked(provider, request, prompt))
        except AttemptError as error:
            hide_secrets(error, self._redaction)
            self._call.trace(f"{self._entry.model.name}: asked again for a wider window: {error.message}")
            yield Close()
            self._held, self._shown_length = held, length
            self._account.row.http_status = OK
            return cut

    def _shown(
        self, provider: Provider, show: HTTPRequest, model: ModelConfig
    ) -> Generator[Operation, Any, ModelConfig]:
        """Learn the model's own limits before the call, where the provider must be told how much of them to use."""
        call = self._call
        told = call.local.kept_limits(model.api_name)
        if told is None:
            exchange = yield self._time.opening(show, call.timeouts.first_token_s, Progress())
            body = yield from self._rest()
            yield Close()
            told = provider.parse_show(body, exchange.status, exchange.headers)
            yield Blocking(lambda: call.local.keep_limits(model.api_name, told))
        return limited(model, told, call.size)

    def _streamed(self, reader: StreamReader, first_token_s: float) -> Generator[Operation, Any, Completion]:
        call = self._call
        self._reader = reader
        # What is no part of the answer, comments and empty events, does not put the limit off.
        limit_s, by_s = first_token_s, call.clock() + first_token_s
        while not reader.done:
            data = yield self._time.reading(by_s, limit_s)
            if not data:
                break
            # Line by line: text is shown before an error that came together with it counts.
            for line in data.splitlines(keepends=True):
                for chunk in reader.feed(line):
                    limit_s = call.timeouts.stall_s
                    if chunk.text and self._may_show(chunk.text):
                        yield from self._let_out()
                    by_s = call.clock() + limit_s
        completion = reader.finish()
        if (rest := completion.text[self._shown_length :]) and self._may_show(rest):
            yield from self._let_out()
        return completion

    def _may_show(self, text: str) -> bool:
        """Hold the next piece, and say whether what is held may be let out."""
        if not self._begun_to_answer:
            self._begun_to_answer = True
            self._account.mark_first_token()
        self._shown_length += len(text)
        self._held.append(text)
        # Blank lines are no answer yet.
        if not (self._call.atomic or text.isspace()):
            self.shown = self._time.to_the_end = True
        return self.shown

    def _let_out(self) -> Generator[Operation, Any, None]:
        began_s = self._call.clock()
        while self._held:
            yield Emit(self._held.pop(0))
        # A reader that is slow takes none of the provider's time.
        self._time.hand_over(self._call.clock() - began_s)

    def _rest(self) -> Generator[Operation, Any, bytes]:
        pieces = []
        stall_s = self._call.timeouts.stall_s
        while piece := (yield self._time.reading(self._call.clock() + stall_s, stall_s)):
            pieces.append(piece)
        return b"".join(pieces)

    def _first_token_s(self, provider: Provider) -> float:
        timeouts = self._call.timeouts
        slow = provider.local or self._call.prompt.effort == "high"
        return timeouts.slow_first_token_s if slow else timeouts.first_token_s

    def _fitted(self, model: ModelConfig) -> Prompt:
        call = self._call
        for words in refused(call.prompt, model.parameters).values():
            call.note(f"{model.name} takes no {words}; sent without")
        prompt = fitted(call.prompt, model.parameters)
        lowered = self._adapted.max_tokens if self._adapted else None
        limits = [limit for limit in (self._cut, lowered) if limit is not None]
        return prompt._replace(max_tokens=min(limits)) if limits else prompt

    def _put_otherwise(self, request: HTTPRequest) -> HTTPRequest:
        """Rename or drop what the model has just refused."""
        if self._adapted is None:
            return request
        body = self._adapted.apply(json.loads(request.body or b"{}"))
        self._call.trace(f"{self._entry.model.name}: sent again with {', '.join(body)}")
        return request._replace(body=json.dumps(body, ensure_ascii=False).encode())

    def _find_adaptation(self, error: AttemptError, request: HTTPRequest) -> None:
        if isinstance(error, ParameterError):
            sent = json.loads(request.body or b"{}")
            self.adaptation = adaptation(error.code, error.message, sent, self._call.prompt)

    @property
    def _redaction(self) -> Redaction:
        return self._call.endpoints.redaction.but(self._entry.model.api_name)

    def _add_hint(self, error: AttemptError) -> None:
        """Say what to do where nothing answered: the provider knows what ought to."""
        if isinstance(error, UnreachableError) and not error.broken_off and self._provider is not None:
            error.hint = error.hint or self._provider.unreachable_hint

    def _seen(self) -> Completion | None:
        if self._answer is not None or self._reader is None:
            return self._answer
        return told_harmlessly(self._reader.so_far, self._redaction)
