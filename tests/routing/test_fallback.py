"""What is done about each class of failure, row by row of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute import errors
from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    CircuitOpenError,
    ContentError,
    ContextLengthError,
    DeadlineError,
    IncompleteAnswerError,
    LLMRouteError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    SchemaError,
    TransientError,
    UnreachableError,
)
from llmroute.routing.actions import MAX_ATTEMPTS, MoreCandidates, Outcome, Policy, Repair, Try, Wait
from llmroute.routing.attempt_loop import attempt_loop
from llmroute.routing.fallback import RULES, SOON_S
from llmroute.routing.parameters import Adaptation
from llmroute.routing.token_estimate import measure
from llmroute.types import Prompt
from tests.routing.models import entry

KINDS: list[type[AttemptError]] = sorted(RULES, key=str)
POOL = ("openai/small", "openai/large", "mistral/m", "anthropic/a", "ollama/o")
WINDOWS = {"openai/small": 1000, "openai/large": 9000, "mistral/m": 500, "anthropic/a": 1000, "ollama/o": None}


@dataclass
class Played:
    """What the loop did: models in the order of their calls, waits, and how it ended (None: with an answer)."""

    calls: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    asked_others_after: list[int] = field(default_factory=list)
    error: LLMRouteError | None = None


def made(kind: type[AttemptError], **values: Any) -> AttemptError:
    error = kind("it failed")
    for name, value in values.items():
        setattr(error, name, value)
    return error


def play(  # noqa: PLR0913 (each is part of a situation)
    *failures: AttemptError | None,
    pool: tuple[str, ...] = POOL,
    others: tuple[str, ...] | None = None,
    deadline_s: float = 300.0,
    call_s: float = 0.1,
    shown: bool = False,
    on_content: bool = False,
    jitter: float = 0.5,
    adaptation: Adaptation | None = None,
    repairable: bool = False,
    max_attempts: int = MAX_ATTEMPTS,
) -> Played:
    """Play a loop in which the calls fail so, and every later one succeeds; time passes in calls and in waits."""
    played = Played()
    entries = [entry(name, window=WINDOWS[name]) for name in pool]
    policy = Policy(deadline_s, on_content, jitter, max_attempts=max_attempts)
    loop = attempt_loop(entries, policy, others=others is not None)
    left = list(failures)
    now_s = 0.0
    try:
        action = next(loop)
        while True:
            if isinstance(action, Wait):
                played.waits.append(action.seconds)
                now_s += action.seconds
                outcome = Outcome(now_s)
            elif isinstance(action, MoreCandidates):
                played.asked_others_after.append(len(played.calls))
                outcome = Outcome(now_s, entries=[entry(name, window=WINDOWS[name]) for name in others or ()])
            else:
                played.calls.append(action.entry.model.name)
                played.tries.append(action)
                now_s += call_s
                error = left.pop(0) if left else None
                repair = Repair(Prompt(()), measure(Prompt(())), action.entry) if repairable else None
                repair = None if action.repair else repair
                outcome = Outcome(now_s, error, shown and error is not None, adaptation=adaptation, repair=repair)
            action = loop.send(outcome)
    except StopIteration:
        return played
    except LLMRouteError as error:
        played.error = error
        return played


def test_an_answer_ends_the_loop() -> None:
    played = play(None)
    assert (played.calls, played.waits, played.error) == (["openai/small"], [], None)
    assert played.tries[0].fell_from is None


# How each class goes on while others are left: the calls that follow the first, and the wait before.
TABLE: list[tuple[AttemptError, list[str], list[float]]] = [
    (made(RateLimitError), ["mistral/m"], []),
    (made(RateLimitError, retry_after_s=0.4), ["mistral/m"], []),
    (made(RateLimitError, retry_after_s=30.0), ["mistral/m"], []),
    (made(QuotaError), ["mistral/m"], []),
    (made(AuthenticationError), ["mistral/m"], []),
    (made(ModelGoneError), ["openai/large"], []),
    (made(TransientError), ["mistral/m"], []),
    (made(TransientError, retry_after_s=0.8, should_retry=True), ["mistral/m"], []),
    (made(ProviderTimeoutError), ["mistral/m"], []),
    (made(UnreachableError), ["mistral/m"], []),
    (made(UnreachableError, broken_off=True), ["mistral/m"], []),
    (made(ContextLengthError), ["openai/large"], []),
    (made(ParameterError), ["openai/large"], []),
    (made(BadOutputError), ["mistral/m"], []),
    (made(CircuitOpenError), ["mistral/m"], []),
]


@pytest.mark.parametrize(("error", "then", "waits"), TABLE)
def test_a_failure_goes_on_as_its_class_says(error: AttemptError, then: list[str], waits: list[float]) -> None:
    played = play(error)
    assert played.calls == ["openai/small", *then]
    assert played.waits == pytest.approx(waits)
    assert played.error is None


@pytest.mark.parametrize("kind", [ContentError, BadRequestError])
def test_a_failure_of_the_request_itself_ends_it(kind: type[AttemptError]) -> None:
    error = made(kind)
    played = play(error)
    assert played.calls == ["openai/small"]
    assert played.error is error


def test_content_falls_back_where_the_caller_allows_it() -> None:
    assert play(made(ContentError), on_content=True).calls == ["openai/small", "openai/large"]


def test_a_refused_parameter_is_put_otherwise_once_at_the_cost_of_no_retry_and_no_wait() -> None:
    otherwise = Adaptation(drop="stream_options")
    played = play(made(ParameterError, should_retry=False), adaptation=otherwise)
    assert (played.calls, played.waits, played.error) == (["openai/small"] * 2, [], None)
    assert [(each.adaptation, each.retry) for each in played.tries] == [(None, False), (otherwise, False)]
    again = play(made(ParameterError), made(ParameterError), adaptation=otherwise)
    assert again.calls == ["openai/small", "openai/small", "openai/large"]
    assert again.tries[-1].adaptation is None
    assert play(made(TransientError), adaptation=otherwise).tries[1].adaptation is None
    limited = play(made(ParameterError), adaptation=otherwise, max_attempts=1)
    assert (len(limited.calls), type(limited.error)) == (1, ParameterError)


@pytest.mark.parametrize("failure", [TransientError, RateLimitError, BadOutputError])
def test_a_repair_that_fails_in_passing_is_retried_once_after_the_other_candidates(failure: type[AttemptError]) -> None:
    two = ("openai/small", "mistral/m")
    alone = play(made(SchemaError), made(failure), pool=two[:1], repairable=True)
    assert (alone.calls, len(alone.waits), alone.error) == (["openai/small"] * 3, 1, None)
    assert [(each.repair is not None, each.retry) for each in alone.tries] == [(0, 0), (1, 0), (1, 1)]
    again = play(made(SchemaError), made(failure), made(failure), pool=two[:1], repairable=True)
    assert (len(again.calls), type(again.error)) == (3, failure)
    others = play(made(SchemaError), made(failure), made(ModelGoneError), pool=two, repairable=True)
    assert others.calls == ["openai/small", "openai/small", "mistral/m", "openai/small"]
    assert others.tries[-1].repair is not None


def test_an_answer_to_a_retry_or_to_a_changed_request_is_repaired_too() -> None:
    retried = play(made(TransientError), made(SchemaError), pool=POOL[:1], repairable=True)
    assert [(each.repair is not None, each.retry) for each in retried.tries] == [(0, 0), (0, 1), (1, 0)]
    otherwise = Adaptation(drop="stop")
    changed = play(made(ParameterError), made(SchemaError), pool=POOL[:1], repairable=True, adaptation=otherwise)
    assert [each.adaptation for each in changed.tries] == [None, otherwise, otherwise]
    assert play(made(SchemaError), made(SchemaError), pool=POOL[:1], repairable=True).calls == ["openai/small"] * 2


@pytest.mark.parametrize(
    ("limit", "calls"),
    [("caller", 1), ("reasoning", 3), ("model", 3), (None, 3)],
)
def test_an_answer_cut_at_the_limit_of_the_request_is_asked_of_no_other_model(limit: str | None, calls: int) -> None:
    cut = made(SchemaError, cut_at=limit)
    assert len(play(cut, cut, cut, pool=("openai/small", "mistral/m", "openai/large")).calls) == calls


def test_the_next_model_is_called_where_only_the_correction_of_an_answer_was_cut() -> None:
    cut = made(SchemaError, cut_at="caller")
    played = play(made(SchemaError), cut, pool=("openai/small", "mistral/m"), repairable=True)
    assert (played.calls, played.error) == (["openai/small", "openai/small", "mistral/m"], None)


def test_every_class_of_failure_has_a_rule() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AttemptError)}
    assert set(RULES) == classes - {AttemptError, errors.AllProvidersFailedError, errors.RejectedError}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_endpoint_is_called_at_most_twice(kind: type[AttemptError]) -> None:
    played = play(*(made(kind, retry_after_s=0.1, broken_off=True, should_retry=True) for _ in range(9)))
    assert all(played.calls.count(name) <= 2 for name in played.calls)


@pytest.mark.parametrize("kind", KINDS)
def test_alone_a_failure_is_raised_as_it_is(kind: type[AttemptError]) -> None:
    failures = [made(kind) for _ in range(2)]
    played = play(*failures, pool=POOL[:1])
    assert played.error is failures[len(played.calls) - 1]


def test_a_long_prompt_goes_only_to_larger_windows() -> None:
    error = made(ContextLengthError)
    assert play(error).calls == ["openai/small", "openai/large"]
    assert play(error, error).error is error
    assert play(error, pool=("openai/small", "mistral/m", "anthropic/a", "ollama/o")).calls == ["openai/small"]
    assert play(error, pool=("ollama/o", "mistral/m")).calls == ["ollama/o", "mistral/m"]


def test_what_is_wrong_with_a_provider_rules_out_all_its_models() -> None:
    for kind in (AuthenticationError, QuotaError, UnreachableError):
        error = made(kind)
        played = play(error, pool=POOL[:2])
        assert (played.calls, played.error) == (["openai/small"], error)


def test_a_rate_limit_is_waited_for_when_nobody_else_is_left() -> None:
    alone = POOL[:1]
    assert play(made(RateLimitError, retry_after_s=30.0), pool=alone).waits == [30.0]
    assert play(made(RateLimitError), pool=alone).waits == [SOON_S]
    error = made(RateLimitError, retry_after_s=30.0)
    played = play(error, pool=alone, deadline_s=20.0)
    assert (played.waits, played.error) == ([], error)


def test_a_failure_that_passes_is_waited_for_when_nobody_else_is_left() -> None:
    assert play(made(TransientError, retry_after_s=20.0), pool=POOL[:1]).waits == [20.0]


def test_a_provider_that_forbids_a_second_call_is_obeyed() -> None:
    for kind in (TransientError, RateLimitError, BadOutputError):
        error = made(kind, should_retry=False, retry_after_s=0.1)
        assert play(error, pool=POOL[:1]).error is error


def test_a_provider_that_asks_for_a_second_call_is_obeyed() -> None:
    asked = made(ProviderTimeoutError, should_retry=True, retry_after_s=5.0)
    assert play(asked, pool=POOL[:1]).waits == [5.0]


@pytest.mark.parametrize("kind", [RateLimitError, TransientError, BadOutputError])
def test_each_candidate_is_called_once_before_any_is_called_twice(kind: type[AttemptError]) -> None:
    played = play(*(made(kind) for _ in range(9)), pool=POOL[2:], max_attempts=9)
    assert played.calls == [*POOL[2:], *POOL[2:]]
    assert [each.retry for each in played.tries] == [False] * 3 + [True] * 3
    assert [each.number for each in played.tries] == [1, 2, 3, 4, 5, 6]
    assert [each.alone for each in played.tries] == [False, False, True, True, True, True]


def test_a_healthy_third_answers_where_the_first_two_are_down() -> None:
    pool = ("openai/small", "mistral/m", "anthropic/a")
    played = play(made(TransientError), made(TransientError), pool=pool)
    assert (played.calls, played.waits, played.error) == (list(pool), [], None)


def test_models_of_a_provider_that_failed_come_after_those_of_all_others() -> None:
    pool = ("openai/small", "openai/large", "mistral/m", "anthropic/a")
    for kind in (RateLimitError, TransientError, ProviderTimeoutError, BadOutputError):
        played = play(*(made(kind) for _ in range(3)), pool=pool)
        assert played.calls == ["openai/small", "mistral/m", "anthropic/a", "openai/large"]
    assert play(made(ModelGoneError), pool=pool).calls == ["openai/small", "openai/large"]


def test_a_second_call_is_of_whoever_is_ready_first_and_waits_for_what_is_left_of_its_pause() -> None:
    pool = ("openai/small", "mistral/m", "anthropic/a")
    failures = [
        made(RateLimitError, retry_after_s=20.0),
        made(TransientError),
        made(ProviderTimeoutError),
        made(TransientError),
    ]
    played = play(*failures, pool=pool, call_s=0.2)
    assert played.calls == [*pool, "mistral/m", "openai/small"]
    assert played.waits == pytest.approx([0.3, 19.1])
    late = play(*failures, pool=pool, call_s=0.2, deadline_s=15.0)
    assert late.calls == [*pool, "mistral/m"]
    assert late.error is failures[3]


def test_what_a_later_failure_rules_out_is_not_called_again() -> None:
    pool = ("mistral/m", "openai/small")
    assert play(made(TransientError), made(BadRequestError), pool=pool).calls == list(pool)
    assert play(made(TransientError), made(ContextLengthError), pool=pool).calls == list(pool)


@pytest.mark.parametrize("most", [1, 2, 4, 8])
def test_no_more_calls_are_made_than_are_allowed(most: int) -> None:
    failures = [made(TransientError) for _ in range(11)]
    played = play(*failures, max_attempts=most)
    assert len(played.calls) == most
    assert played.error is failures[most - 1]
    assert [each.alone for each in played.tries] == [n + 1 == most or n >= len(POOL) - 1 for n in range(most)]


def test_eight_calls_are_made_at_most_unless_told_otherwise() -> None:
    assert MAX_ATTEMPTS == 8
    assert len(play(*(made(TransientError) for _ in range(20))).calls) == 8


def test_what_was_not_sent_is_no_attempt() -> None:
    played = play(*(made(CircuitOpenError) for _ in range(4)), made(TransientError), max_attempts=2)
    assert played.error is None
    assert [each.number for each in played.tries] == [1, 1, 1, 1, 1, 2]


def test_the_deadline_ends_it_with_the_last_failure_named() -> None:
    failed = play(made(TransientError), call_s=10.0, deadline_s=10.0)
    assert isinstance(failed.error, DeadlineError)
    assert failed.error.message == "no answer within 10 s; last: it failed"
    played = play(made(ProviderTimeoutError), call_s=10.0, deadline_s=10.0)
    assert isinstance(played.error, DeadlineError)
    assert played.error.message == "no answer within 10 s; openai/small had not answered"
    assert played.error.hint == "allow more with timeout_s"
    assert [remedy.option for remedy in played.error.remedies] == [played.error.option] == ["timeout_s"]
    assert isinstance(played.error.__cause__, ProviderTimeoutError)


def test_a_deadline_that_is_missed_by_a_hair_is_over() -> None:
    assert isinstance(play(made(ProviderTimeoutError), call_s=9.9999, deadline_s=10.0).error, DeadlineError)


def test_text_that_was_shown_ends_it_whatever_failed() -> None:
    for kind in RULES:
        played = play(made(kind), shown=True)
        assert isinstance(played.error, IncompleteAnswerError)
        assert "openai/small: the answer broke off: it failed" in played.error.message
        assert type(played.error.__cause__) is kind
        assert played.calls == ["openai/small"]


def test_a_fallback_knows_what_it_stands_in_for() -> None:
    played = play(made(TransientError), made(TransientError), pool=("mistral/m", "openai/small"))
    fell_from = [each.fell_from for each in played.tries]
    assert [failed and (failed.entry.model.name, failed.calls) for failed in fell_from] == [
        None,
        ("mistral/m", 1),
        ("openai/small", 1),
    ]
    assert play(made(TransientError), pool=POOL[:1]).tries[1].fell_from is None
    assert play(made(ModelGoneError), pool=POOL[:2]).tries[-1].alone


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 0.4), (0.5, 0.5), (1.0, 0.6)])
def test_a_retry_waits_half_a_second_more_or_less(jitter: float, seconds: float) -> None:
    assert play(made(TransientError), pool=POOL[:1], jitter=jitter).waits == pytest.approx([seconds])


failures = st.builds(
    made,
    st.sampled_from(KINDS),
    retry_after_s=st.none() | st.floats(0, 3600),
    should_retry=st.sampled_from([None, True, False]),
    broken_off=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    sequence=st.lists(st.none() | failures, max_size=6),
    size=st.integers(1, 5),
    deadline_s=st.floats(0.5, 4000),
    call_s=st.floats(0.001, 100),
    jitter=st.floats(0, 1),
)
def test_whatever_happens_the_loop_is_bounded(
    sequence: list[AttemptError | None], size: int, deadline_s: float, call_s: float, jitter: float
) -> None:
    played = play(*sequence, pool=POOL[:size], deadline_s=deadline_s, call_s=call_s, jitter=jitter)
    sent = len(played.calls) - sum(isinstance(error, CircuitOpenError) for error in sequence[: len(played.calls)])
    assert played.calls
    assert sent <= MAX_ATTEMPTS
    assert sum(played.waits) < deadline_s
    fresh = [each for index, each in enumerate(played.calls) if each not in played.calls[:index]]
    assert played.calls[: len(fresh)] == fresh, "each once before any twice"
    if played.error is None:
        assert None in sequence[: len(played.calls)] or len(sequence) < len(played.calls)


@settings(max_examples=200, deadline=None)
@given(
    sequence=st.lists(
        failures.filter(lambda error: RULES[type(error)].next in ("any", "other provider first")),
        min_size=1,
        max_size=3,
    )
)
def test_while_another_is_left_nobody_waits(sequence: list[AttemptError]) -> None:
    assert play(*sequence).waits == []


def test_others_are_asked_for_at_the_first_failure_and_once() -> None:
    assert play(None, pool=POOL[:1], others=POOL[1:]).asked_others_after == []
    played = play(made(ProviderTimeoutError), made(ProviderTimeoutError), pool=POOL[:1], others=POOL[1:])
    assert played.asked_others_after == [1]
    assert played.calls == ["openai/small", "mistral/m", "anthropic/a"]


def test_while_others_are_not_asked_for_somebody_is_taken_to_be_left() -> None:
    assert not play(None, pool=POOL[:1], others=()).tries[0].alone
    assert play(None, pool=POOL[:1]).tries[0].alone


def test_the_same_candidates_come_in_the_same_order_whether_they_are_known_or_asked_for() -> None:
    for kind in KINDS:
        for failures in ([made(kind)], [made(kind), made(kind)], [made(kind, retry_after_s=0.5)]):
            known = play(*failures)
            asked = play(*failures, pool=POOL[:1], others=POOL[1:])
            assert (asked.calls, asked.waits, type(asked.error)) == (known.calls, known.waits, type(known.error))


def test_others_are_not_asked_for_once_text_was_shown() -> None:
    played = play(made(TransientError), pool=POOL[:1], others=POOL[1:], shown=True)
    assert played.asked_others_after == []
    assert isinstance(played.error, IncompleteAnswerError)
