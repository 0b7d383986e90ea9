"""The account of one attempt: what goes into its row, and what the caller is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, BadOutputError, ContentError, ProviderTimeoutError, UnreachableError
from llmroute.ledger.processes import this_process
from llmroute.ledger.rows import AttemptRow
from llmroute.routing.estimate import expected_input_tokens
from llmroute.service.costing import cost_of, estimated_usage, price_as_json, usd
from llmroute.types import PICO_PER_USD, AttemptRecord, Completion, LLMResponse, Usage

if TYPE_CHECKING:
    from llmroute.routing.actions import Try
    from llmroute.service.call import Call

DEADLINE_MARGIN_MS = 60_000


class Account:
    """The books of one attempt, from its pending row to its settled one."""

    def __init__(self, call: Call, action: Try, started: float, before: tuple[AttemptRecord, ...]) -> None:
        self._call = call
        self._request_started = started
        self._started = call.clock()
        self._before = before
        self._first_text_ms: int | None = None
        entry = action.entry
        self._price = entry.candidate.price
        model, labels = entry.model, call.labels
        process = this_process()
        self.row = AttemptRow(
            request_id=call.id,
            attempt=action.number,
            started_ms=call.now_ms(),
            provider=model.provider,
            model=model.id,
            streaming=call.prompt.streaming,
            strategy=call.plan.strategy,
            chain=call.plan.chain,
            task=labels.task,
            workspace=labels.workspace,
            execution=labels.execution,
            effort=call.prompt.effort,
            price=price_as_json(entry.candidate.price),
            price_as_of=model.as_of,
            reserved_picousd=entry.candidate.worst_cost_picousd,
            expected_picousd=entry.candidate.expected_cost_picousd,
            pid=process.pid,
            host=process.host,
            process=process.mark,
            # Nothing waits beyond the deadline of the request.
            deadline_ms=call.now_ms() + round(call.timeouts.total_s * 1000) + DEADLINE_MARGIN_MS,
        )

    @property
    def closed(self) -> bool:
        """Whether it is known how the attempt ended."""
        return self.row.status != "pending"

    def mark_first_token(self) -> None:
        """Note that the first text has come."""
        self.row.ttft_ms = self._elapsed_ms()
        self._first_text_ms = self._since_request_ms()

    def close_answered(self, completion: Completion) -> None:
        """Account for a whole answer."""
        usage = completion.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            usage = estimated_usage(expected_input_tokens(self._call.prompt), completion)
        self._settle("ok", usage, cost_of(usage, self._price), completion)

    def close_failed(self, error: AttemptError, seen: Completion | None, *, shown: bool) -> None:
        """Account for a failure; `seen` is what came of the answer before it."""
        row = self.row
        error.provider, error.model = row.provider, row.model
        if error.http_status is None and isinstance(error, BadOutputError | ContentError):
            error.http_status = row.http_status
        row.error = error.kind
        row.http_status = error.http_status if error.http_status is not None else row.http_status
        row.provider_request_id = error.request_id
        status = "partial" if shown else "failed"
        if seen is None and not _may_have_been_billed(error):
            self._settle(status, Usage(), 0, None)
        else:
            self._settle_estimate(status, seen)

    def close_interrupted(self, seen: Completion | None, *, sent: bool) -> None:
        """Account for an attempt that the user or the caller broke off; what was never `sent` costs nothing."""
        if sent:
            self._settle_estimate("interrupted", seen)
        else:
            self._settle("interrupted", Usage(), 0, None)

    def _settle_estimate(self, status: str, seen: Completion | None) -> None:
        usage = Usage() if seen is None else seen.usage
        if usage.input_tokens is None or usage.output_tokens is None or status != "failed":
            usage = estimated_usage(expected_input_tokens(self._call.prompt), seen)
        self._settle(status, usage, cost_of(usage, self._price), seen)

    def _settle(self, status: str, usage: Usage, cost: int | None, completion: Completion | None) -> None:
        row = self.row
        row.settled_ms = self._call.now_ms()
        row.latency_ms = self._elapsed_ms()
        row.input_tokens = usage.input_tokens
        row.cached_input_tokens = usage.cached_input_tokens
        row.cache_write_tokens = usage.cache_write_tokens
        row.output_tokens = usage.output_tokens
        row.reasoning_tokens = usage.reasoning_tokens
        row.usage_source = usage.source
        row.cost_picousd = self._within_reservation(cost, usage)
        if completion is not None:
            row.served_model = completion.model
            row.provider_request_id = completion.request_id
            row.finish_reason = completion.finish_reason
        # Last: whoever writes the beginning meanwhile, in another thread, must find a pending row or a whole one.
        row.status = status

    def _within_reservation(self, cost: int | None, usage: Usage) -> int | None:
        """Cut an estimate down to what was possible; what a provider reports is counted, and told when it is not."""
        reserved = self.row.reserved_picousd
        if cost is None or reserved is None or cost <= reserved:
            return cost
        if usage.source == "estimated":
            return reserved
        self._call.note(
            f"warning: {self.row.provider}/{self.row.model} reports more usage than the request allowed:"
            f" {cost / PICO_PER_USD:.6f} USD where at most {reserved / PICO_PER_USD:.6f} were possible"
        )
        return cost

    def _since_request_ms(self) -> int:
        return round((self._call.clock() - self._request_started) * 1000)

    def _elapsed_ms(self) -> int:
        return round((self._call.clock() - self._started) * 1000)

    def response(self, completion: Completion) -> LLMResponse:
        """Return the answer with what all attempts of the request took."""
        row = self.row
        attempts = (*self._before, self.record())
        costs = [attempt.cost_usd for attempt in attempts]
        return LLMResponse(
            content=completion.text,
            provider=row.provider,
            model=row.model,
            usage=Usage(
                row.input_tokens,
                row.cached_input_tokens,
                row.cache_write_tokens,
                row.output_tokens,
                row.reasoning_tokens,
                completion.usage.cache_write_1h_tokens,
                completion.usage.source if row.usage_source == "reported" else "estimated",
            ),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            latency_ms=self._since_request_ms(),
            ttft_ms=self._first_text_ms,
            finish_reason=completion.finish_reason,
            attempts=attempts,
            request_id=row.request_id,
            strategy=self._call.plan.strategy,
            chain=self._call.plan.chain,
            thinking=completion.thinking,
            tool_calls=completion.tool_calls,
            refusal=completion.refusal,
            prompt_cut=None if completion.prompt_cut is None else completion.prompt_cut.told,
        )

    def record(self) -> AttemptRecord:
        """Return the attempt as it is told to the caller."""
        row = self.row
        return AttemptRecord(
            provider=row.provider,
            model=row.model,
            status=row.status,
            error=row.error,
            http_status=row.http_status,
            latency_ms=row.latency_ms,
            cost_usd=usd(row.cost_picousd),
        )


def _may_have_been_billed(error: AttemptError) -> bool:
    """Whether the provider was reached and may have worked, rather than refused."""
    if isinstance(error, UnreachableError):
        return error.broken_off
    return isinstance(error, ProviderTimeoutError | BadOutputError) and "no connection" not in error.message
