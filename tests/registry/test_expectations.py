"""Models without a rating or a call have an expected quality and speed, each with what it rests on."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.registry import ModelRegistry
from llmroute.registry.expectations import Quality, expected_quality, expected_speed
from llmroute.types import ModelConfig, Price

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRY = ModelRegistry()


def model(name: str, **facts: object) -> ModelConfig:
    provider, _, id_ = name.partition("/")
    return ModelConfig(provider=provider, id=id_, api_name=id_, **facts)  # type: ignore[arg-type]


def known(*models: ModelConfig) -> Callable[[str], ModelConfig | None]:
    """Return what finds a model by its name among these."""

    def find(name: str) -> ModelConfig | None:
        return next((one for one in models if one.name == name), None)

    return find


def test_a_rating_is_taken_as_it_is() -> None:
    assert expected_quality(model("openai/a", quality=77, follows="openai/b"), known()) == Quality(77, "rated")


def test_an_unrated_model_is_rated_a_little_above_the_model_that_it_follows() -> None:
    first, second, third = (
        model("openai/a", quality=90),
        model("openai/b", follows="openai/a"),
        model("openai/c", follows="openai/b"),
    )
    find = known(first, second, third)
    assert expected_quality(second, find) == Quality(91, "of its predecessor")
    assert expected_quality(third, find) == Quality(92, "of its predecessor")


def test_models_that_follow_each_other_in_a_circle_have_an_expected_quality() -> None:
    one, other = model("openai/a", follows="openai/b"), model("openai/b", follows="openai/a")
    assert expected_quality(one, known(one, other)).basis == "a guess"


@given(usd=st.floats(0.001, 10_000))
def test_without_a_predecessor_the_price_says_more_or_less_how_good_a_model_is(usd: float) -> None:
    price = Price(input=0, output=round(usd * 10**6))
    found = expected_quality(model("openai/a", prices=(price,)), known())
    assert found.basis == "by its price"
    assert 40 <= found.value <= 85
    assert found.value == pytest.approx(min(max(70 + 3.4 * log(usd), 40), 85), abs=0.6)


def test_a_free_model_without_a_rating_is_a_guess() -> None:
    assert expected_quality(model("ollama/a", prices=(Price(input=0, output=0),)), known()) == Quality(50, "a guess")


def test_the_newest_flagships_are_not_expected_to_be_worse_than_those_they_follow() -> None:
    names = REGISTRY.list_models()
    followers = [found for found in map(REGISTRY.resolve, names) if found.follows is not None]
    assert len(followers) >= 7
    for found in followers:
        before = REGISTRY.resolve(found.follows or "")
        assert REGISTRY.expected_quality(found).value >= REGISTRY.expected_quality(before).value, found.name


def test_every_model_of_the_catalogue_has_a_speed_at_every_effort() -> None:
    for name in REGISTRY.list_models():
        found = REGISTRY.resolve(name)
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
            speed = REGISTRY.expected_speed(found, effort)
            assert speed is not None
            assert 0.4 < speed.first_token_s < 300
            assert 0.001 < speed.token_s < 0.1


def test_small_models_are_expected_to_be_faster_and_effort_to_take_time() -> None:
    speeds = {"first_token_s": {"none": 1, "high": 14}, "tokens_per_s": {"small": 100, "large": 50}}
    small, large = model("openai/a", size="small"), model("openai/b", size="large")
    fast, slow = expected_speed(small, "none", speeds), expected_speed(large, "high", speeds)
    assert fast is not None
    assert slow is not None
    assert fast == (1, 0.01)
    assert slow == (14, 0.02)
    assert expected_speed(small, "none", None) is None


def test_hidden_reasoning_is_over_before_the_first_token() -> None:
    speeds = {"first_token_s": {"high": 14}, "tokens_per_s": {"large": 50}, "hidden_reasoning": True}
    found = expected_speed(model("openai/b", size="large"), "high", speeds)
    assert found is not None
    assert found.token_s == pytest.approx(0.2 / 50)
