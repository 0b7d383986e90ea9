"""The outcome of a line: its attempt settled at the batch price by its own usage, and its response or error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.execution.accounting.recorder import fill, record_of
from llmroute.execution.accounting.settlement import UNSENT, Sent, settle
from llmroute.execution.answer_check import error_in, hide_secrets, sanitized
from llmroute.ledger.jobs import LineEnd
from llmroute.planning.usage_cost import price_from_json, usd
from llmroute.request.ids import now_ms
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import BATCH, Completion, LLMResponse, Prompt, Service, Usage

if TYPE_CHECKING:
    from llmroute.errors import AttemptError, LLMRouteError
    from llmroute.jobs.tools import JobTools
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.jobs import Job, JobLine
    from llmroute.providers.batch_jobs.job import LineResult

OK = 200


class LineOutcome(NamedTuple):
    """What became of a line: a response or an error.  `not_run` says that it can be answered in another way."""

    position: int
    line_id: str
    max_tokens: int | None
    response: LLMResponse | None
    error: LLMRouteError | None
    not_run: bool = False


class Outcomes:
    """Turns the results of one job into outcomes."""

    def __init__(self, tools: JobTools, job: Job) -> None:
        self._tools = tools
        self._job = job
        self._price = None if job.price is None else price_from_json(job.price)
        self._model = tools.factory.plans.registry.get_model_config(job.provider, job.model)
        self._redaction = tools.endpoints.redaction.but(self._model.api_name)

    def settle(self, line: JobLine, row: AttemptRow, result: LineResult, not_run: LLMRouteError) -> LineEnd:
        """Settle the attempt of a reserved line, in its row; `not_run` is the error of one that was not run."""
        completion = None if result.completion is None else sanitized(result.completion, self._redaction)
        fault = result.error if completion is None else error_in(completion)
        if fault is not None and fault.usage is not None:
            completion = (completion or Completion())._replace(usage=fault.usage, usage_final=True)
        if result.unrun:
            row.settled_ms, row.cost_picousd, row.cost_basis = now_ms(), 0, "reported"
            row.status, row.error = "failed", not_run.kind
            return LineEnd(line.n, "unanswered", row)
        settlement = UNSENT
        if completion is not None:
            # The tier is that of the job, whatever an answer says of it.
            priced = completion._replace(service=Service(None, *completion.service[1:]))
            settlement = settle(self._sent(line, row), priced)
        if settlement.doubt is not None:
            self._tools.note(f"warning: {self._model.name} {settlement.doubt}")
        fill(row, settlement, completion)
        row.service_tier, row.settled_ms = BATCH, now_ms()
        row.http_status = OK if fault is None else fault.http_status
        row.error = None if fault is None else fault.kind
        row.status = "ok" if fault is None else "failed"
        return LineEnd(line.n, "answered" if fault is None else "failed", row)

    def outcome(self, line: JobLine, row: AttemptRow, result: LineResult, not_run: LLMRouteError) -> LineOutcome:
        """Return the outcome of a line that is settled; `not_run` as for `settle`."""
        if result.unrun:
            return LineOutcome(line.position, line.line_id, line.max_tokens, None, not_run, not_run=True)
        completion = None if result.completion is None else sanitized(result.completion, self._redaction)
        fault = result.error if completion is None else error_in(completion)
        if completion is not None and fault is None:
            response = self._response(row, completion)
            return LineOutcome(line.position, line.line_id, line.max_tokens, response, None)
        assert fault is not None
        return LineOutcome(line.position, line.line_id, line.max_tokens, None, self.failure(row, fault))

    def failure(self, row: AttemptRow, fault: AttemptError) -> AttemptError:
        """Return the error of a line with its attempt."""
        hide_secrets(fault, self._redaction)
        fault.provider, fault.model = row.provider, row.model
        fault.attempts = (record_of(row),)
        return fault

    def _sent(self, line: JobLine, row: AttemptRow) -> Sent:
        size = PromptSize(line.expected_input, 0, line.worst_input, 0, line.max_tokens)
        bound = row.cost_basis == "at_most"
        prompt = Prompt((), max_tokens=line.max_tokens)
        return Sent(prompt, size, self._model, self._price, row.reserved_picousd, bound, line.expected_output)

    def _response(self, row: AttemptRow, completion: Completion) -> LLMResponse:
        began_ms = self._job.submitted_ms or row.started_ms
        return LLMResponse(
            content=completion.text,
            provider=row.provider,
            model=row.model,
            usage=Usage(
                input_tokens=row.input_tokens,
                cached_input_tokens=row.cached_input_tokens,
                cache_write_tokens=row.cache_write_tokens,
                output_tokens=row.output_tokens,
                reasoning_tokens=row.reasoning_tokens,
                cache_write_1h_tokens=row.cache_write_1h_tokens,
                source=row.usage_source,  # type: ignore[arg-type]
            ),
            cost_usd=usd(row.cost_picousd),
            latency_ms=max((row.settled_ms or now_ms()) - began_ms, 0),
            ttft_ms=None,
            finish_reason=completion.finish_reason,
            attempts=(record_of(row),),
            request_id=row.request_id,
            strategy=row.strategy,
            chain=row.chain,
            thinking=completion.thinking,
            tool_calls=completion.tool_calls,
            refusal=completion.refusal,
        )
