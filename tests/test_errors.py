"""Every error pickles and copies whole, and what several attempts became is caught as what the last of them was."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmroute import errors
from llmroute.errors import (
    AllProvidersFailedError,
    AttemptError,
    AuthenticationError,
    BudgetExceededError,
    LLMRouteError,
    RateLimitError,
    TransientError,
    UnreachableError,
)
from llmroute.execution.failures import all_failed
from llmroute.text.option_text import OptionText, Remedy
from llmroute.types import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LLMRouteError)]
OF_ATTEMPTS = [each for each in CLASSES if issubclass(each, AttemptError) and each is not AllProvidersFailedError]
RECORDS = (AttemptRecord("openai", "m", "failed", "rate_limit", 429, 12, 0.5), AttemptRecord("mistral", "n", "failed"))
HINT = OptionText("allow more with ", Remedy("budget_remaining", 0.25), "; or try again in 7 s")


def made(kind: type[LLMRouteError], message: str = "it failed") -> LLMRouteError:
    """Return an error of a class with something in every field."""
    given: dict[str, Any] = {"hint": HINT, "attempts": RECORDS}
    if kind is AllProvidersFailedError:
        given |= {"exit_code": 4}
    elif issubclass(kind, AttemptError):
        given |= {"provider": "openai", "model": "m", "http_status": 429, "code": "slow", "request_id": "r"}
        given |= {"retry_after_s": 7.5, "should_retry": False}
    error = kind(message, **given)
    error.option = "budget_remaining"
    if isinstance(error, BudgetExceededError):
        error.headroom_picousd, error.of_request = 5, True
    if isinstance(error, UnreachableError):
        error.broken_off = True
    return error


def several(*kinds: type[AttemptError]) -> AllProvidersFailedError:
    failures = [made(kind, f"it failed {number}") for number, kind in enumerate(kinds)]
    attempts = [each for each in failures if isinstance(each, AttemptError)]
    return all_failed("every attempt failed", attempts, hint=HINT, attempts=RECORDS)


ALL = [*(made(kind) for kind in CLASSES), *(several(TransientError, kind) for kind in OF_ATTEMPTS)]


def pickled(protocol: int) -> Callable[[LLMRouteError], LLMRouteError]:
    def there_and_back(error: LLMRouteError) -> LLMRouteError:
        same: LLMRouteError = pickle.loads(pickle.dumps(error, protocol))
        return same

    return there_and_back


WAYS: dict[str, Callable[[LLMRouteError], LLMRouteError]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


def facts(error: LLMRouteError) -> dict[str, object]:
    """Return all that can be told of an error."""
    public = {name: getattr(error, name) for name in dir(error) if not name.startswith("_")}
    methods = ("add_note", "with_traceback")
    return {
        **{name: value for name, value in public.items() if name not in methods},
        "text": str(error),
        "shown": repr(error),
        "parts": getattr(error.hint, "parts", None),
        "class": type(error),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ALL, ids=lambda each: f"{type(each).__name__}-{type(each).__mro__[2].__name__}")
def test_an_error_pickles_and_copies_with_all_of_its_fields(error: LLMRouteError, way: str) -> None:
    error.add_note("seen by a test")
    same = WAYS[way](error)
    assert same is not error
    assert facts(same) == facts(error)
    assert isinstance(same.remedies[0], Remedy)


@given(
    message=st.text(),
    hint=st.none() | st.text(),
    retry_after_s=st.none() | st.floats(allow_nan=False),
    kind=st.sampled_from(OF_ATTEMPTS),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_said_survives_a_pickle(
    message: str, hint: str | None, retry_after_s: float | None, kind: type[AttemptError]
) -> None:
    error = kind(message, hint=hint, retry_after_s=retry_after_s)
    assert facts(pickle.loads(pickle.dumps(error))) == facts(error)


class OurError(RateLimitError):
    """A class of a program's own, with a signature of its own."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds} s", retry_after_s=seconds)
        self.seconds = seconds


def test_a_class_of_a_programs_own_pickles_too() -> None:
    same = pickle.loads(pickle.dumps(OurError(3.0)))
    assert (type(same), str(same), same.seconds, same.retry_after_s) == (OurError, "wait 3.0 s", 3.0, 3.0)


def fail(number: int) -> None:
    raise ALL[number]


def test_every_error_comes_home_from_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, error in enumerate(ALL):
            home = pool.submit(fail, number).exception(timeout=60)
            assert isinstance(home, LLMRouteError)
            # Its notes and its cause are the pool's.
            assert facts(home) == facts(error)


@pytest.mark.parametrize("kind", OF_ATTEMPTS)
def test_several_failures_are_caught_as_both_and_have_the_fields_of_the_last(kind: type[AttemptError]) -> None:
    error = several(TransientError, kind)
    assert isinstance(error, AllProvidersFailedError)
    assert isinstance(error, kind)
    assert (error.provider, error.model, error.http_status, error.code) == ("openai", "m", 429, "slow")
    assert (error.request_id, error.should_retry, error.retry_after_s) == ("r", False, 7.5)
    assert (error.message, error.hint, error.attempts) == ("every attempt failed", HINT, RECORDS)
    assert (error.exit_code, error.kind, type(error).__name__) == (
        kind.exit_code,
        "all_failed",
        "AllProvidersFailedError",
    )
    assert getattr(error, "broken_off", True) is True
    assert type(error) is type(several(kind, kind)), "it is one class, however often it is needed"


def waits(*seconds: float | None, last: type[AttemptError] = RateLimitError) -> float | None:
    failures: list[AttemptError] = [RateLimitError("slow", retry_after_s=each) for each in seconds[:-1]]
    failures.append(last("slow", retry_after_s=seconds[-1]))
    error = all_failed("all", failures, hint=None, attempts=RECORDS)
    assert isinstance(error, last)
    return error.retry_after_s


def test_failures_that_are_alike_may_be_tried_again_at_the_soonest_that_any_told() -> None:
    assert waits(30.0, 7.0, 60.0) == 7.0
    assert waits(7.0, None) == 7.0
    assert waits(None, None) is None
    assert waits(7.0, 60.0, last=AuthenticationError) == 60.0, "they are not alike: it is the last one's"
    assert waits(7.0, None, last=AuthenticationError) is None


def test_an_error_made_by_hand_is_what_it_was() -> None:
    error = AllProvidersFailedError("all", exit_code=3)
    assert not isinstance(error, RateLimitError)
    assert pickle.loads(pickle.dumps(error)).exit_code == 3
