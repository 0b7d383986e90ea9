"""The provider call of one attempt: render, send, read and check.  A generator of operations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.errors import AttemptError, ParameterError, UnreachableError
from llmroute.execution.accounting.answer_limit import OF_MODEL, answer_limit
from llmroute.execution.answer_check import error_in, hide_secrets, sanitized
from llmroute.execution.clock import deadline_error
from llmroute.execution.operations import Blocking, Close, Open, Operation, Read
from llmroute.planning.local.model_cache import limited
from llmroute.routing.parameters import adaptation, refused, without
from llmroute.text.redaction import shown
from llmroute.transport.network.send_progress import Progress
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmroute.execution.accounting.recorder import AttemptRecorder
    from llmroute.execution.answer_stream import AnswerStream
    from llmroute.execution.request import RequestContext
    from llmroute.execution.timeouts import AttemptTime
    from llmroute.providers import Provider
    from llmroute.routing.actions import Try
    from llmroute.routing.parameters import Adaptation
    from llmroute.text.redaction import Redaction
    from llmroute.types import Completion, HTTPRequest, ModelConfig, Prompt

# An answer that is not streamed arrives when it is complete, at twenty tokens a second.
SLOWEST_S_PER_TOKEN = 0.05
LONG_ANSWER_TOKENS = 16_000
# The time to send attachments is added to the wait for the answer.
SLOWEST_UPLOAD_BYTES_PER_S = 250_000


class ProviderCall:
    """Calls the provider of one attempt, and records the status and the first token in `recorder`.

    Attributes:
        adaptation: the change of the request that the provider may accept, after it rejected a parameter.
        limit: the completion limit of the answer.
    """

    def __init__(
        self,
        request: RequestContext,
        action: Try,
        time: AttemptTime,
        recorder: AttemptRecorder,
        stream: AnswerStream,
    ) -> None:
        self._request = request
        self._model = action.entry.model
        self._worst = action.entry.candidate.worst
        repair = action.repair
        self._prompt, self._size = (request.prompt, request.size) if repair is None else (repair.prompt, repair.size)
        self._adapted = action.adaptation
        self._time = time
        self._recorder = recorder
        self._provider: Provider | None = None
        self._answer: Completion | None = None
        self._progress = Progress()
        self._stream = stream
        self.adaptation: Adaptation | None = None
        self.limit = OF_MODEL

    @property
    def _redaction(self) -> Redaction:
        return self._request.endpoints.redaction.but(self._model.api_name)

    @property
    def sent(self) -> bool:
        """Whether any byte of the request may have been sent."""
        return self._progress.sent

    def run(self, max_tokens: int | None) -> Generator[Operation, Any, Completion]:
        """Return a usable answer; a budget limits it to `max_tokens`, None where no budget does.

        Raises:
            AttemptError: the call failed.
        """
        request = self._request
        if self._time.left_s <= 0:
            # The wait for the ledger took all of the request's time.
            raise deadline_error(request.timeouts.total_s)
        self._time.begin()
        model = self._model
        provider: Provider = request.endpoints.connected(model.provider) or (
            yield Blocking(lambda: request.endpoints.connect(model.provider))
        )
        self._provider = provider
        if (show := provider.render_show(model)) is not None:
            model = yield from self._with_local_limits(provider, show)
        prompt = self._supported(model, max_tokens)
        self._recorder.note_sending(prompt, model)
        if self._adapted is None or self._adapted.max_tokens is None:
            self.limit = answer_limit(request.prompt.max_tokens, max_tokens, model, self._worst, request.budget)
        completion = yield from self._answered(provider, prompt, model)
        self._answer = completion
        if (fault := error_in(completion, self.limit)) is not None:
            raise fault
        if completion.warning:
            request.note(f"{self._model.name}: {completion.warning}")
        return completion

    def _answered(
        self, provider: Provider, prompt: Prompt, model: ModelConfig
    ) -> Generator[Operation, Any, Completion]:
        """Send the prompt, again with a wider context window if the local server truncated it."""
        http_request = self._adapt((yield from _rendered(provider, prompt, model)))
        completion = yield from self._exchange(provider, http_request, prompt)
        if completion.prompt_cut is not None and not self._stream.buffer.released:
            wider = yield from _rendered(provider, prompt, replace(model, own_window=completion.prompt_cut.window))
            if (again := self._adapt(wider)).body != http_request.body:
                cut, completion = completion, (yield from self._retry_wider(provider, again, prompt, completion))
                http_request = http_request if completion is cut else again
        if (window := http_request.window) is not None:
            yield Blocking(lambda: self._request.local.keep_window(model.api_name, window))
        return completion

    def _exchange(
        self, provider: Provider, http_request: HTTPRequest, prompt: Prompt
    ) -> Generator[Operation, Any, Completion]:
        """Send a request and read the answer."""
        name, trace = self._model.name, self._request.trace
        first_token_s = self._first_token_s(provider)
        wait_s = first_token_s
        if not prompt.streaming:
            wait_s += SLOWEST_S_PER_TOKEN * (prompt.max_tokens or LONG_ANSWER_TOKENS)
        if prompt.media:
            wait_s += len(http_request.body or b"") / SLOWEST_UPLOAD_BYTES_PER_S
        trace(f"{name}: {http_request.method} {shown(http_request.url)} ({len(http_request.body or b'')} bytes)")
        exchange = yield Open(http_request, *self._time.opening_s(wait_s), self._progress)
        trace(f"{name}: status {exchange.status}")
        self._recorder.row.http_status = exchange.status
        if exchange.status != HTTP_OK:
            body = yield from self._read_all()
            error = provider.parse_error(exchange.status, exchange.headers, body)
            if isinstance(error, ParameterError):
                sent = json.loads(http_request.body or b"{}")
                self.adaptation = adaptation(error, sent, self._prompt)
            raise error
        if prompt.streaming:
            completion = yield from self._stream.read(provider.open_stream(http_request), first_token_s)
        else:
            completion = provider.parse_completion((yield from self._read_all()), http_request)
        self._answer = completion = sanitized(completion, self._redaction)
        yield Close()
        return completion

    def _retry_wider(
        self, provider: Provider, http_request: HTTPRequest, prompt: Prompt, cut: Completion
    ) -> Generator[Operation, Any, Completion]:
        """Send the prompt again with a context window that it fits into; return `cut`, the first answer, on failure."""
        snapshot, self._answer = self._stream.buffer.reset(), cut
        try:
            return (yield from self._exchange(provider, http_request, prompt))
        except AttemptError as error:
            hide_secrets(error, self._redaction)
            self._request.trace(f"{self._model.name}: retry with a wider context window failed: {error.message}")
            yield Close()
            self._stream.buffer.restore(snapshot)
            self._recorder.row.http_status = HTTP_OK
            return cut

    def _with_local_limits(self, provider: Provider, show: HTTPRequest) -> Generator[Operation, Any, ModelConfig]:
        """Return the model with the limits that its local server reports, requested if they are not cached."""
        request, model = self._request, self._model
        listed = request.local.kept_limits(model.api_name)
        if listed is None:
            exchange = yield Open(show, *self._time.opening_s(request.timeouts.first_token_s), Progress())
            body = yield from self._read_all()
            yield Close()
            listed = provider.parse_show(body, exchange.status, exchange.headers)
            yield Blocking(lambda: request.local.keep_limits(model.api_name, listed))
        return limited(model, listed, self._size)

    def _read_all(self) -> Generator[Operation, Any, bytes]:
        chunks = []
        stall_s = self._request.timeouts.stall_s
        while chunk := (yield Read(self._time.reading_s(self._request.clock() + stall_s, stall_s))):
            chunks.append(chunk)
        return b"".join(chunks)

    def _first_token_s(self, provider: Provider) -> float:
        timeouts = self._request.timeouts
        slow = provider.local or self._request.prompt.effort == "high"
        return timeouts.slow_first_token_s if slow else timeouts.first_token_s

    def _supported(self, model: ModelConfig, max_tokens: int | None) -> Prompt:
        """Return the prompt without the parameters that the model does not support, within `max_tokens`."""
        request = self._request
        prompt = self._prompt
        if left_out := refused(prompt, model.parameters):
            for words in left_out.values():
                request.note(f"{model.name} takes no {words}; sent without")
            prompt = without(prompt, left_out)
        if prompt.tier is None and self._recorder.bound and request.endpoints.has_own_address(model.provider):
            # Without a tier OpenAI uses that of the key's project, which may cost more than was reserved.
            prompt = prompt._replace(tier="standard")
        lowered = self._adapted.max_tokens if self._adapted else None
        limits = [limit for limit in (max_tokens, lowered) if limit is not None]
        return prompt._replace(max_tokens=min(limits)) if limits else prompt

    def _adapt(self, http_request: HTTPRequest) -> HTTPRequest:
        """Rename or drop the parameter that the provider rejected in the attempt before."""
        if self._adapted is None:
            return http_request
        body = self._adapted.apply(json.loads(http_request.body or b"{}"))
        self._request.trace(f"{self._model.name}: sent again with {', '.join(body)}")
        return http_request._replace(body=json.dumps(body, ensure_ascii=False).encode())

    def explain(self, error: AttemptError) -> None:
        """Remove secrets from an error, and add the provider's hint if the provider was unreachable."""
        if isinstance(error, UnreachableError) and not error.broken_off and self._provider is not None:
            error.hint = error.hint or self._provider.unreachable_hint
        hide_secrets(error, self._redaction)

    def partial_answer(self) -> Completion | None:
        """Return the answer as far as it has arrived, None before its beginning."""
        if self._answer is not None or self._stream.reader is None:
            return self._answer
        return sanitized(self._stream.reader.so_far, self._redaction)


def _rendered(provider: Provider, prompt: Prompt, model: ModelConfig) -> Generator[Operation, Any, HTTPRequest]:
    """Render the HTTP request; attachments of megabytes, and the form of a schema, are written in a thread."""
    if not prompt.media and prompt.schema is None:
        return provider.render_request(prompt, model)
    request: HTTPRequest = yield Blocking(lambda: provider.render_request(prompt, model))
    return request
