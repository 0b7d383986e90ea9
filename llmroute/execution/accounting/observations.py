"""Observations of latency, reliability and circuits from a settled attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.circuits import TripReason
from llmroute.errors import BadOutputError, RejectedError, UnreachableError
from llmroute.ledger.statistics.values import CheckResult, Observation
from llmroute.routing.fallback import RULES
from llmroute.routing.latency_estimate import bucket

if TYPE_CHECKING:
    from llmroute.circuits import BreakerRule
    from llmroute.errors import AttemptError
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.types import Prompt


NO_CAPACITY_FOR_TIER = "resource_unavailable"
"""The code of OpenAI's 429 where the flex tier has no capacity, which says nothing of the model."""


class CallContext(NamedTuple):
    """Facts about the call of an attempt that are not in its row.

    Attributes:
        prompt: the prompt that was sent, with its completion limit.
        effort: the reasoning effort that the model ran at.
        tier: the requested service tier; empty for the standard one.
        fingerprint: a digest of the provider's key and base URL.
        first_token_s: how long the first token is waited for, in seconds.
        per_token_s: known seconds per output token of the model: they divide the time of an answer that was not
            streamed into the wait for its first token and the rest; None if unknown.
    """

    prompt: Prompt
    effort: str
    tier: str
    fingerprint: str
    first_token_s: float
    per_token_s: float | None = None


def observation_of(row: AttemptRow, error: AttemptError | None, call: CallContext) -> Observation:
    """Return the observation of a settled attempt."""
    observation = Observation(
        provider=row.provider,
        model=row.model,
        effort=call.effort,
        bucket=bucket(row.input_tokens or 0),
        at_ms=row.settled_ms or row.started_ms,
        fingerprint=call.fingerprint,
        answered=row.http_status is not None,
        task=row.task or "",
        tier=call.tier,
    )
    # Flex answers when there is capacity, and priority sooner: their times are not those of the standard tier.
    timed = not call.tier
    if isinstance(error, UnreachableError) and error.local:
        return observation
    if error is not None and not isinstance(error, RejectedError):
        elapsed_s = (row.latency_ms or 0) / 1000
        rule = RULES[type(error)]
        return observation._replace(
            succeeded=False if rule.unreliable and error.code != NO_CAPACITY_FOR_TIER else None,
            ttft_s=max(call.first_token_s, elapsed_s) if rule.slow and timed else None,
            trip=_trip(error),
            output_tokens=_complete_length(row, call.prompt) if isinstance(error, BadOutputError) else None,
        )
    if row.status not in ("ok", "rejected"):
        return observation
    ttft_s, writing_s = _speeds(row, call.per_token_s) if timed else (None, None)
    length = _complete_length(row, call.prompt)
    observation = observation._replace(succeeded=True, ttft_s=ttft_s, per_token_s=writing_s, output_tokens=length)
    if row.usage_source != "reported":
        return observation
    return observation._replace(input_tokens=row.input_tokens, cached_tokens=row.cached_input_tokens or 0)


def check_result_of(row: AttemptRow, *, passed: bool) -> CheckResult:
    """Return the verdict of a check on a settled answer."""
    return CheckResult(row.provider, row.model, row.task or "", row.settled_ms or row.started_ms, passed)


def _complete_length(row: AttemptRow, prompt: Prompt) -> int | None:
    """Return the output tokens of an answer that ended by itself, None of any other.

    Most providers report `stop` both for an answer that ended by itself and for one that reached a stop sequence.
    """
    if row.usage_source != "reported" or row.output_tokens is None:
        return None
    by_itself = row.finish_reason == "tool_calls" or (row.finish_reason == "stop" and not prompt.stop)
    reached_limit = prompt.max_tokens is not None and row.output_tokens >= prompt.max_tokens
    return row.output_tokens if by_itself and not reached_limit else None


def _trip(error: AttemptError) -> BreakerRule | None:
    trip = RULES[type(error)].trip
    if trip is not None and trip.reason is TripReason.RATE_LIMIT and error.retry_after_s is not None:
        rest_ms = round(error.retry_after_s * 1000)
        return trip._replace(rest_ms=rest_ms, most_ms=rest_ms)
    return trip


def _speeds(row: AttemptRow, known_per_token_s: float | None) -> tuple[float, float | None]:
    """Return the seconds to the first token and per further token, None where the two cannot be separated."""
    total_s = (row.latency_ms or 0) / 1000
    tokens = row.output_tokens or 0
    if row.ttft_ms is None:
        writing_s = tokens * (known_per_token_s or 0.0)
        return max(total_s - writing_s, total_s * 0.1), None
    ttft_s = row.ttft_ms / 1000
    return ttft_s, max(total_s - ttft_s, 0.0) / (tokens - 1) if tokens > 1 else None
