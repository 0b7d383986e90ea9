"""The outcome of a line: its attempt settled at the batch price by its own usage, and its response or error."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import AttemptError, SchemaError
from llmroute.execution.accounting.recorder import fill, record_of
from llmroute.execution.accounting.settlement import UNSENT, Sent, settle
from llmroute.execution.answer_check import document_of, error_in, hide_secrets, sanitized
from llmroute.jobs.line_schemas import LineSchemas
from llmroute.ledger.jobs import LineEnd
from llmroute.planning.usage_cost import price_from_json, usd
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import BATCH, Completion, LLMResponse, Prompt, Service
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.errors import LLMRouteError
    from llmroute.jobs.context import JobContext
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.jobs import Job, JobLine
    from llmroute.providers.batch_jobs.job import LineResult
    from llmroute.schema.document import AnswerDocument
    from llmroute.types.answer_schema import AnswerSchema


class LineOutcome(NamedTuple):
    """The outcome of a line: a response or an error.

    `can_rescue` says that an ordinary call may answer it: it was not run, or its answer is not valid.  `request_id` is
    that of an attempt that may have cost something.
    """

    position: int
    line_id: str
    response: LLMResponse | None
    error: LLMRouteError | None
    can_rescue: bool = False
    request_id: str | None = None


class JudgedResult(NamedTuple):
    """The checked result of a line: the received answer, and its document, or the error.

    Without an answer or an error, the line was not run.
    """

    completion: Completion | None = None
    document: AnswerDocument | None = None
    error: AttemptError | None = None


class Outcomes:
    """Turns the results of one job into outcomes."""

    def __init__(self, context: JobContext, job: Job) -> None:
        self._context = context
        self._job = job
        self._price = None if job.price is None else price_from_json(job.price)
        self._model = context.factory.models.registry.get_model_config(job.provider, job.model)
        self._redaction = context.endpoints.redaction.but(self._model.api_name)

    @cached_property
    def _schemas(self) -> LineSchemas:
        context, job = self._context, self._job.id
        return LineSchemas(context.journal, job, context.classes, context.schemas_path(job))

    def judge(self, results: Mapping[int, LineResult]) -> dict[int, JudgedResult]:
        """Check the results of lines, by number; this may take long.

        Raises:
            LedgerError: their schemas cannot be read.
            OSError: the file with the schemas of a job of an older version cannot be read.
        """
        schemas = self._schemas.of_lines([*results])
        return {n: self._judge(result, schemas.get(n)) for n, result in results.items()}

    def _judge(self, result: LineResult, schema: AnswerSchema | None) -> JudgedResult:
        if result.unrun:
            return JudgedResult()
        if result.completion is None:
            return JudgedResult(error=result.error)
        completion = sanitized(result.completion, self._redaction)
        error: AttemptError | None = error_in(completion)
        if schema is None or error is not None:
            return JudgedResult(completion, None, error)
        try:
            return JudgedResult(completion, document_of(completion, schema, self._model))
        except SchemaError as invalid:
            return JudgedResult(completion, None, invalid)

    def settle(self, line: JobLine, row: AttemptRow, result: JudgedResult, not_run: LLMRouteError) -> LineEnd:
        """Settle the attempt of a reserved line, in its row; `not_run` is the error of one that was not run."""
        completion, _, error = result
        if error is not None and error.usage is not None:
            completion = (completion or Completion())._replace(usage=error.usage, usage_final=True)
        if completion is None and error is None:
            row.settled_ms, row.cost_picousd, row.cost_basis = self._context.now_ms(), 0, "reported"
            row.status, row.error = "failed", not_run.kind
            return LineEnd(line.n, "unanswered", row)
        settlement = UNSENT
        if completion is None and error is not None and error.http_status == HTTP_OK:
            settlement = settle(self._sent(line, row), None)
        elif completion is not None:
            # The tier is that of the job, whatever an answer says of it.
            priced = completion._replace(service=Service(None, *completion.service[1:]))
            settlement = settle(self._sent(line, row), priced)
        if settlement.doubt is not None:
            self._context.note(f"warning: {self._model.name} {settlement.doubt}")
        fill(row, settlement, completion)
        row.service_tier, row.settled_ms = BATCH, self._context.now_ms()
        row.http_status = HTTP_OK if error is None or result.completion is not None else error.http_status
        row.error = None if error is None else error.kind
        row.status = "ok" if error is None else error.status
        if error is None:
            return LineEnd(line.n, "answered", row)
        return LineEnd(line.n, "rejected" if _can_rescue(line, error) else "failed", row)

    def outcome(self, line: JobLine, row: AttemptRow, result: JudgedResult, not_run: LLMRouteError) -> LineOutcome:
        """Return the outcome of a line that is settled; `not_run` as for `settle`."""
        own = line.position, line.line_id
        completion, document, error = result
        if error is not None:
            failure = self._failure(row, error)
            return LineOutcome(*own, None, failure, _can_rescue(line, error), row.request_id)
        if completion is None:
            return LineOutcome(*own, None, not_run, can_rescue=True)
        response = self._response(row, completion)
        if document is not None:
            response = replace(response, content=document.text, parsed=document.parsed)
        return LineOutcome(*own, response, None)

    def _failure(self, row: AttemptRow, error: AttemptError) -> AttemptError:
        """Return the error of a line with its attempt."""
        hide_secrets(error, self._redaction)
        error.provider, error.model, error.http_status = row.provider, row.model, row.http_status
        error.attempts = (record_of(row),)
        return error

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
            usage=row.usage(),
            cost_usd=usd(row.cost_picousd),
            latency_ms=max((row.settled_ms or self._context.now_ms()) - began_ms, 0),
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


def _can_rescue(line: JobLine, error: AttemptError) -> bool:
    """Whether a call may answer a line whose answer is not valid: not with the limit that cut the answer."""
    return isinstance(error, SchemaError) and (line.max_tokens is None or error.cut_at is None)
