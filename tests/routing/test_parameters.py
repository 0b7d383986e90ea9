"""What a model does not take is named, and left out."""

from __future__ import annotations

from typing import Any

import pytest

from llmroute.errors import ParameterError
from llmroute.routing.parameters import Adaptation, adaptation, refused, without
from llmroute.schema.answer_schema import read_schema
from llmroute.types import Message, ParameterLimits, Prompt

TAKES_EFFORT = ("low", "high")


def prompt(**values: Any) -> Prompt:
    return Prompt((Message("user", "x"),), **values)


@pytest.mark.parametrize(
    ("asked", "limits", "words"),
    [
        (prompt(temperature=0.0), ParameterLimits(temperature=False), {"temperature": "temperature"}),
        (prompt(temperature=1.5), ParameterLimits(max_temperature=1.0), {"temperature": "temperature above 1"}),
        (
            prompt(temperature=1.0),
            ParameterLimits(temperature_needs_effort_none=True, efforts=TAKES_EFFORT),
            {"temperature": "temperature while it reasons"},
        ),
        (
            prompt(temperature=1.0),
            ParameterLimits(temperature_needs_effort_none=True, default_effort="low"),
            {"temperature": "temperature while it reasons"},
        ),
        (prompt(effort="high"), ParameterLimits(), {"effort": "effort"}),
        (prompt(stop=("x",)), ParameterLimits(stop=False), {"stop": "stop sequences"}),
        (
            prompt(temperature=1.0, effort="low", stop=("x",)),
            ParameterLimits(temperature=False, stop=False),
            {"temperature": "temperature", "effort": "effort", "stop": "stop sequences"},
        ),
    ],
)
def test_what_is_refused_is_named_and_left_out(asked: Prompt, limits: ParameterLimits, words: dict[str, str]) -> None:
    assert refused(asked, limits) == words
    left = without(asked, words)
    assert refused(left, limits) == {}
    for name in ("temperature", "effort", "stop"):
        assert getattr(left, name) == (() if name == "stop" else None) or name not in words
    assert left.messages == asked.messages


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        (prompt(), ParameterLimits(temperature=False, stop=False)),
        (prompt(temperature=1.0), ParameterLimits(max_temperature=1.0)),
        (
            prompt(temperature=1.0, effort="none"),
            ParameterLimits(temperature_needs_effort_none=True, efforts=("none",)),
        ),
        (prompt(temperature=1.0), ParameterLimits(temperature_needs_effort_none=True, default_effort="none")),
        (prompt(effort="high"), ParameterLimits(efforts=TAKES_EFFORT)),
    ],
)
def test_what_is_taken_is_left_as_it_is(asked: Prompt, limits: ParameterLimits) -> None:
    assert refused(asked, limits) == {}
    assert without(asked, refused(asked, limits)) == asked


@pytest.mark.parametrize("name", ["response_format", "format"])
def test_a_native_schema_is_dropped_only_where_the_model_reads_it_in_words(name: str) -> None:
    asked = prompt(schema=read_schema("name, age int"))
    assert asked.schema is not None
    in_words = {name: {}, "messages": [{"role": "system", "content": f"Be brief.\n\n{asked.schema.words}"}]}
    natively = {name: {}, "messages": [{"role": "user", "content": "x"}]}
    refusal = ParameterError("not supported", code=name)
    assert adaptation(refusal, in_words, asked) == Adaptation(drop=name)
    assert adaptation(refusal, natively, asked) is None
    assert adaptation(refusal, in_words, prompt()) is None
