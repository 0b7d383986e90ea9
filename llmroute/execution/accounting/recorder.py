"""Recorder of one attempt: fills its ledger row and builds the response and the attempt record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmroute.errors import BadOutputError, ContentError
from llmroute.execution.accounting.settlement import UNSENT, Sent, Settlement, did_nothing, is_refusal, settle
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.ledger.processes import this_process
from llmroute.planning.usage_cost import price_as_json, storable, usd
from llmroute.registry.pricing import price_of_service
from llmroute.types import AttemptRecord, Completion, LLMResponse, Service, Usage

if TYPE_CHECKING:
    from llmroute.errors import AttemptError
    from llmroute.execution.accounting.answer_limit import AnswerLimit
    from llmroute.execution.request import RequestContext
    from llmroute.routing.actions import Try
    from llmroute.schema.document import AnswerDocument
    from llmroute.types import ModelConfig, Prompt, SkippedModel

DEADLINE_MARGIN_MS = 60_000


class AttemptRecorder:
    """Fills the row of one attempt, from pending to settled; `before` are the earlier attempts of its request."""

    def __init__(self, request: RequestContext, action: Try, before: tuple[AttemptRecord, ...]) -> None:
        self._request = request
        self._started_s = request.clock()
        self._before = before
        self._first_text_ms: int | None = None
        self._usage = Usage()
        candidate, model, labels, repair = action.entry.candidate, action.entry.model, request.labels, action.repair
        self._price = candidate.price
        self._expected_output_tokens = candidate.output.tokens
        self._prompt = request.prompt if repair is None else repair.prompt
        self._size = request.size if repair is None else repair.size
        self._model = model
        process, now_ms = this_process(), request.now_ms()
        self.row = AttemptRow(
            request_id=request.id,
            attempt=action.number,
            started_ms=now_ms,
            provider=model.provider,
            model=model.id,
            streaming=request.prompt.streaming,
            strategy=request.plan.strategy,
            chain=request.plan.chain,
            task=labels.task,
            workspace=labels.workspace,
            execution=labels.execution,
            effort=request.prompt.effort,
            # Of the tier that is requested, until an answer names the one that served it.
            service_tier=request.prompt.tier,
            price=price_as_json(self._price and price_of_service(self._price, Service(request.prompt.tier))[0]),
            price_as_of=model.as_of,
            reserved_picousd=storable(candidate.worst_cost_picousd),
            expected_picousd=storable(candidate.expected_cost_picousd),
            pid=process.pid,
            host=process.host,
            process=process.mark,
            # Nothing waits beyond the deadline of the request.
            deadline_ms=now_ms + round(request.timeouts.total_s * 1000) + DEADLINE_MARGIN_MS,
        )

    @property
    def bound(self) -> bool:
        """Whether a budget counts the attempt, as the ledger wrote when it began."""
        return self.row.cost_basis == "at_most"

    @property
    def prompt(self) -> Prompt:
        """The prompt that was sent."""
        return self._prompt

    @property
    def closed(self) -> bool:
        """Whether it is known how the attempt ended."""
        return self.row.status != "pending"

    def mark_first_token(self) -> None:
        """Note that the first text has come."""
        self.row.ttft_ms = self._elapsed_ms()
        self._first_text_ms = self._since_request_ms()

    def note_sending(self, prompt: Prompt, model: ModelConfig) -> None:
        """Note the prompt and the model of the provider call."""
        self._prompt, self._model = prompt, model

    def close_answered(
        self,
        completion: Completion,
        document: AnswerDocument | None,
        limit: AnswerLimit,
        skipped: tuple[SkippedModel, ...],
    ) -> LLMResponse:
        """Record a complete answer; return it with what all attempts of the request took.

        `document` is the answer of a request with a schema, and `limit` is its completion limit.
        """
        self._settle("ok", self._settlement(completion), completion)
        row = self.row
        attempts = (*self._before, self.record())
        costs = [attempt.cost_usd for attempt in attempts]
        return LLMResponse(
            content=completion.text if document is None else document.text,
            parsed=None if document is None else document.parsed,
            provider=row.provider,
            model=row.model,
            usage=self._usage,
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            latency_ms=self._since_request_ms(),
            ttft_ms=self._first_text_ms,
            finish_reason=completion.finish_reason,
            attempts=attempts,
            request_id=row.request_id,
            strategy=self._request.plan.strategy,
            chain=self._request.plan.chain,
            thinking=completion.thinking,
            tool_calls=completion.tool_calls,
            refusal=completion.refusal,
            prompt_cut=row.prompt_cut,
            budget_cut=limit.budget_cut(completion.finish_reason),
            attachments=self._request.size.attachments,
            skipped=skipped,
        )

    def close_failed(self, error: AttemptError, seen: Completion | None, *, sent: bool, released: bool) -> None:
        """Account for a failure.

        `seen` is the answer before it; `sent` and `released` say whether any byte was sent and any text emitted.
        """
        row = self.row
        if error.usage is not None:
            seen = (seen or Completion())._replace(usage=error.usage, usage_final=True)
        free = not sent or did_nothing(error, row.http_status, seen)
        error.provider, error.model = row.provider, row.model
        if error.http_status is None and isinstance(error, BadOutputError | ContentError):
            error.http_status = row.http_status
        row.error = error.kind
        row.http_status = error.http_status if error.http_status is not None else row.http_status
        row.provider_request_id = error.request_id
        self._settle("partial" if released else error.status, UNSENT if free else self._settlement(seen), seen)

    def reject(self, error: AttemptError) -> None:
        """Record that the caller does not accept an answer that was recorded as complete."""
        self.row.error = error.kind
        self.row.status = error.status
        error.provider, error.model, error.http_status = self.row.provider, self.row.model, self.row.http_status

    def close_interrupted(self, seen: Completion | None, *, sent: bool) -> None:
        """Record an attempt that was interrupted; it costs nothing if nothing was `sent`."""
        free = not sent or is_refusal(self.row.http_status)
        self._settle("interrupted", UNSENT if free else self._settlement(seen), seen)

    def _settlement(self, seen: Completion | None) -> Settlement:
        # A pending row says what becomes of it when its end stays unknown.
        reserved, bound, expected = self.row.reserved_picousd, self.bound, self._expected_output_tokens
        size = self._size.for_model(self._model)
        return settle(Sent(self._prompt, size, self._model, self._price, reserved, bound, expected), seen)

    def _settle(self, status: str, settlement: Settlement, completion: Completion | None) -> None:
        row = self.row
        row.settled_ms = self._request.now_ms()
        row.latency_ms = self._elapsed_ms()
        self._usage = settlement.usage
        fill(row, settlement, completion)
        if settlement.doubt is not None:
            self._request.note(f"warning: {row.provider}/{row.model} {settlement.doubt}")
        # Last: a thread that writes the beginning meanwhile must find a pending row or a whole one.
        row.status = status

    def _since_request_ms(self) -> int:
        return round((self._request.clock() - self._request.clock.started_s) * 1000)

    def _elapsed_ms(self) -> int:
        return round((self._request.clock() - self._started_s) * 1000)

    def record(self) -> AttemptRecord:
        """Return the record of the attempt for the caller."""
        return record_of(self.row)


def fill(row: AttemptRow, settlement: Settlement, completion: Completion | None) -> None:
    """Fill a row with its usage and cost and what was seen of its answer; its status and times are not set."""
    row.count(settlement.usage)
    row.service_tier, row.inference_geo = settlement.service.tier or row.service_tier, settlement.service.geo
    row.server_tools = json.dumps(dict(settlement.service.tools)) if settlement.service.tools else None
    if settlement.price is not None:
        row.price = price_as_json(settlement.price)
    row.cost_picousd = settlement.cost_picousd
    row.cost_basis = None if settlement.cost_picousd is None else settlement.basis
    if completion is not None:
        row.served_model = completion.model
        row.provider_request_id = completion.request_id or row.provider_request_id
        row.finish_reason = completion.finish_reason
        row.prompt_cut = None if completion.prompt_cut is None else completion.prompt_cut.warning


def record_of(row: AttemptRow) -> AttemptRecord:
    """Return the record of a settled row for the caller."""
    return AttemptRecord(
        provider=row.provider,
        model=row.model,
        status=row.status,
        error=row.error,
        http_status=row.http_status,
        latency_ms=row.latency_ms,
        cost_usd=usd(row.cost_picousd),
    )
