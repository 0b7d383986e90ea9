"""Which effort a model runs at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.planning.effort import expected_effort
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
