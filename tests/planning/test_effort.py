"""Which effort a model runs at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.planning.effort import expected_effort
from llmroute.registry import ModelRegistry
from llmroute.types import ParameterLimits
from tests.routing.models import model

if TYPE_CHECKING:
    from llmroute.types import Effort


def test_a_model_reasons_by_itself_unless_it_cannot_or_is_told_not_to() -> None:
    efforts = ParameterLimits(efforts=("none", "low", "high"))
    thinker = model("openai/a", capabilities=frozenset(["reasoning"]), parameters=efforts)
    assert expected_effort(thinker, None) == "medium"
    assert expected_effort(thinker, "low") == "low"
    on_request = model(
        "openai/a", capabilities=frozenset(["reasoning"]), parameters=efforts._replace(default_effort="none")
    )
    assert expected_effort(on_request, None) == "none"
    assert expected_effort(model("openai/a"), "high") == "none"


@pytest.mark.parametrize(
    ("name", "runs_at"),
    [
        ("anthropic/claude-opus-5-5", "high"),
        ("mistral/mistral-large-4", "none"),
        ("together/moonshotai/Kimi-K3", "max"),
        ("together/openai/gpt-oss-120b", "medium"),
        ("ollama/qwen3", "high"),
        ("openai/gpt-5.4", "none"),
    ],
)
def test_without_a_requested_effort_a_model_of_the_catalogue_runs_at_its_vendors_default(
    name: str, runs_at: str
) -> None:
    assert expected_effort(ModelRegistry().resolve(name), None) == runs_at


def test_every_model_of_the_catalogue_that_can_stop_reasoning_has_a_default() -> None:
    registry = ModelRegistry()
    models = [model for model in map(registry.resolve, registry.list_models()) if "none" in model.parameters.efforts]
    assert models
    assert [model.name for model in models if model.parameters.default_effort is None] == []


@pytest.mark.parametrize(
    ("efforts", "requested", "runs_at"),
    [
        (("none", "high"), "low", "high"),
        (("low", "high", "max"), "medium", "high"),
        (("low", "medium"), "high", "medium"),
        (("low", "high"), "none", "low"),
        ((), "high", "medium"),
    ],
)
def test_a_model_runs_at_its_own_word_for_the_requested_effort(
    efforts: tuple[str, ...], requested: Effort, runs_at: str
) -> None:
    reasoner = model(capabilities=frozenset(["reasoning"]), parameters=ParameterLimits(efforts=efforts))
    assert expected_effort(reasoner, requested) == runs_at
