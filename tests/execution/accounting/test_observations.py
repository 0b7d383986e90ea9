"""What an attempt teaches, by how it went."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    ContentError,
    ContextLengthError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    TransientError,
    UnreachableError,
)
from llmroute.execution.accounting.observations import CallContext, observation_of
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.types import Prompt

if TYPE_CHECKING:
    from llmroute.ledger.statistics.values import Observation

ROW = AttemptRow(
    "r", 1, started_ms=1000, settled_ms=5000, provider="openai", model="m", streaming=True, status="ok", effort="low",
    http_status=200, input_tokens=5000, output_tokens=101, latency_ms=4000, ttft_ms=1500,
)  # fmt: skip


PROMPT = Prompt(())


def lesson(
    error: AttemptError | None = None,
    *,
    per_token_s: float | None = None,
    prompt: Prompt = PROMPT,
    tier: str = "",
    **facts: Any,
) -> Observation:
    row = replace(ROW, **facts)
    return observation_of(row, error, CallContext(prompt, "medium", tier, "f", 60.0, per_token_s))


def test_a_streamed_answer_teaches_both_speeds() -> None:
    told = lesson()
    assert (told.provider, told.model, told.effort, told.bucket, told.at_ms) == ("openai", "m", "medium", 2, 5000)
    assert (told.succeeded, told.ttft_s, told.trip) == (True, 1.5, None)
    assert told.per_token_s == pytest.approx(2.5 / 100)


@pytest.mark.parametrize(
    ("facts", "tokens"),
    [
        ({}, None),
        ({"finish_reason": "stop"}, 101),
        ({"finish_reason": "error"}, None),
        ({"finish_reason": "tool_calls"}, 101),
        ({"finish_reason": "length"}, None),
        ({"finish_reason": "content_filter"}, None),
        ({"finish_reason": "stop", "usage_source": "estimated"}, None),
        ({"finish_reason": "stop", "usage_source": "implausible"}, None),
        ({"finish_reason": "stop", "status": "partial"}, None),
        ({"finish_reason": "stop", "status": "interrupted"}, None),
    ],
)
def test_only_an_answer_that_ended_by_itself_teaches_how_long_answers_are(
    facts: dict[str, Any], tokens: int | None
) -> None:
    told = lesson(**{"usage_source": "reported", "task": "chat", **facts})
    assert (told.output_tokens, told.task) == (tokens, "chat")


def test_a_tier_without_capacity_does_not_make_the_model_unreliable() -> None:
    assert lesson(RateLimitError("no flex", code="resource_unavailable", retry_after_s=900)).succeeded is None
    assert lesson(RateLimitError("slow down", retry_after_s=9)).succeeded is False


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_the_times_of_another_tier_are_not_taken_for_those_of_the_standard_one(tier: str) -> None:
    answered: dict[str, Any] = {"ttft_ms": 500, "latency_ms": 1500}
    timed_out = ProviderTimeoutError("late")
    assert lesson(**answered).ttft_s == 0.5
    assert lesson(timed_out).ttft_s == 60.0
    for told in (lesson(**answered, tier=tier), lesson(timed_out, tier=tier)):
        assert (told.ttft_s, told.per_token_s, told.tier) == (None, None, tier)


@pytest.mark.parametrize(
    ("prompt", "finish_reason", "tokens"),
    [
        (Prompt((), stop=("END",)), "stop", None),
        (Prompt((), stop=("END",)), "tool_calls", 101),
        (Prompt((), max_tokens=101), "stop", None),
        (Prompt((), max_tokens=102), "stop", 101),
    ],
)
def test_an_answer_that_a_stop_sequence_or_the_limit_may_have_ended_teaches_no_length(
    prompt: Prompt, finish_reason: str, tokens: int | None
) -> None:
    told = lesson(prompt=prompt, finish_reason=finish_reason, usage_source="reported")
    assert told.output_tokens == tokens


def test_a_failed_attempt_teaches_nothing_about_lengths() -> None:
    assert lesson(TransientError("x"), usage_source="reported", finish_reason="stop").output_tokens is None
    assert lesson(ContentError("x"), usage_source="reported", finish_reason="stop").output_tokens is None


@pytest.mark.parametrize(("finish_reason", "tokens"), [("stop", 101), ("length", None), (None, None)])
def test_a_complete_answer_that_cannot_be_used_teaches_its_length(
    finish_reason: str | None, tokens: int | None
) -> None:
    told = lesson(BadOutputError("x"), status="failed", usage_source="reported", finish_reason=finish_reason)
    assert told.output_tokens == tokens


def test_an_answer_of_one_token_teaches_no_speed_of_writing() -> None:
    assert lesson(output_tokens=1).per_token_s is None
    assert lesson(output_tokens=None).per_token_s is None


def test_a_plain_answer_is_told_apart_by_what_is_known_of_the_writing() -> None:
    assert lesson(ttft_ms=None).ttft_s == 4.0
    told = lesson(ttft_ms=None, per_token_s=0.02)
    assert told.ttft_s == pytest.approx(4.0 - 101 * 0.02)
    assert told.per_token_s is None
    assert lesson(ttft_ms=None, per_token_s=9.0).ttft_s == pytest.approx(0.4), "never nothing"


# Whether each failure counts against the model's reliability, whether it teaches slowness, and what it leaves alone.
TABLE: list[tuple[type[AttemptError], bool, bool, str | None]] = [
    (RateLimitError, True, False, "endpoint"),
    (TransientError, True, True, "endpoint"),
    (ProviderTimeoutError, True, True, "endpoint"),
    (UnreachableError, True, True, "address"),
    (BadOutputError, True, True, "endpoint"),
    (QuotaError, False, False, "key"),
    (AuthenticationError, False, False, "key"),
    (ModelGoneError, False, False, "model"),
    (ContextLengthError, False, False, None),
    (ParameterError, False, False, None),
    (BadRequestError, False, False, None),
    (ContentError, False, False, None),
]


@pytest.mark.parametrize(("kind", "unreliable", "slow", "left_alone"), TABLE)
def test_a_failure_teaches_what_its_class_says(
    kind: type[AttemptError], unreliable: bool, slow: bool, left_alone: str | None
) -> None:
    told = lesson(kind("it failed"), status="failed")
    assert told.succeeded is (False if unreliable else None)
    assert told.ttft_s == (60.0 if slow else None)
    assert (told.trip.kind if told.trip else None) == left_alone
    assert told.per_token_s is None


def test_a_failure_counts_as_the_longer_of_the_wait_and_what_it_took() -> None:
    assert lesson(ProviderTimeoutError("slow"), status="failed", latency_ms=90_000).ttft_s == 90.0
    assert lesson(ProviderTimeoutError("slow"), status="failed", latency_ms=None).ttft_s == 60.0


def test_a_rate_limit_rests_as_long_as_the_provider_says() -> None:
    error = RateLimitError("slow down")
    trip = lesson(error, status="failed").trip
    assert trip is not None
    assert (trip.rest_ms, trip.counts) == (30_000, False)
    error.retry_after_s = 7.5
    trip = lesson(error, status="failed").trip
    assert trip is not None
    assert (trip.rest_ms, trip.most_ms) == (7500, 7500)


def test_an_answer_that_was_interrupted_teaches_neither_success_nor_speed() -> None:
    told = lesson(status="interrupted")
    assert (told.succeeded, told.ttft_s, told.trip) == (None, None, None)
