"""Requests that ask for a document in the form that each provider documents."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmroute.routing.token_estimate import measure
from llmroute.schema.answer_schema import read_schema
from llmroute.types import AnswerSchema, Message, ModelConfig, ParameterLimits, Prompt
from tests.providers import corpus
from tests.providers.descriptions import SCHEMAS, faults
from tests.providers.samples import sent
from tests.schema.generated import answered

PERSON = read_schema("name, age int")
MODELS = {provider: ModelConfig(provider, "m", "m", capabilities=frozenset({"json"})) for provider in SCHEMAS}
TREE = read_schema({"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}})
LIST = read_schema({"type": "array", "items": {"type": "string"}})


def asked(provider: str, schema: AnswerSchema, *, native: bool = True, name: str = "m", **said: Any) -> dict[str, Any]:
    limits = ParameterLimits(efforts=("low", "high"), effort_form="output_config" if provider == "anthropic" else None)
    can = frozenset({"json"} if native else ())
    prompt = Prompt((Message("user", "a"),), schema=schema, **said)
    return sent(provider, prompt, ModelConfig(provider, name, name, capabilities=can, parameters=limits))


def system_of(body: dict[str, Any]) -> str:
    first = body["messages"][0]
    return str(body.get("system") or (first["content"] if first["role"] == "system" else ""))


def test_openai_is_asked_strictly() -> None:
    body = asked("openai", PERSON)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {**PERSON.document, "additionalProperties": False},
            "strict": True,
        },
    }
    assert system_of(body) == ""


def test_anthropic_has_the_schema_beside_the_effort() -> None:
    body = asked("anthropic", PERSON, effort="high")
    wanted = {"type": "json_schema", "schema": {**PERSON.document, "additionalProperties": False}}
    assert body["output_config"] == {"effort": "high", "format": wanted}
    assert "output_config" not in asked("anthropic", TREE)


@pytest.mark.parametrize("provider", ["mistral", "together"])
def test_mistral_and_together_have_the_schema_as_it_is_and_in_words(provider: str) -> None:
    body = asked(provider, PERSON, system="Be brief.")
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": PERSON.document}}
    assert body["response_format"] == wanted
    assert system_of(body) == f"Be brief.\n\n{PERSON.words}"


def test_ollama_has_the_schema_as_its_format_and_in_words() -> None:
    body = asked("ollama", LIST, native=False)
    assert body["format"] == LIST.document
    assert LIST.text in system_of(body)


def test_ollama_cloud_and_models_without_the_capability_are_asked_in_words() -> None:
    assert "format" not in asked("ollama", PERSON, name="gpt-oss:120b-cloud")
    for provider in ("openai", "anthropic", "mistral", "together"):
        body = asked(provider, PERSON, native=False)
        assert not {"response_format", "output_config"} & body.keys()
        assert PERSON.text in system_of(body)


@corpus.needs_specs
@pytest.mark.parametrize("provider", SCHEMAS)
def test_every_request_for_a_document_fits_its_publishers_description(provider: str) -> None:
    cases = itertools.product((PERSON, TREE, LIST), (True, False), (None, "be brief"), (None, "none", "high"))
    bodies = [
        asked(provider, schema, native=native, system=system, effort=effort) for schema, native, system, effort in cases
    ]
    assert [found for body in bodies if (found := faults(provider, body))] == []


@corpus.needs_specs
@pytest.mark.parametrize("provider", SCHEMAS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(case=answered())
def test_requests_for_any_document_fit_their_publishers_description(provider: str, case: Any) -> None:
    assert faults(provider, asked(provider, read_schema(case[0]))) == []


def test_the_schema_counts_in_the_size_of_a_prompt_but_not_in_its_lower_bound() -> None:
    plain = Prompt((Message("user", "a"),))
    for model in MODELS.values():
        with_schema, without = (measure(one).for_model(model) for one in (plain._replace(schema=PERSON), plain))
        assert with_schema.expected_input > without.expected_input
        assert with_schema.least_input == without.least_input


def nested(levels: int) -> AnswerSchema:
    """Return a schema of objects that refer twice to the next one, with descriptions beside the references."""
    kinds = {
        f"d{level}": {
            "type": "object",
            "properties": {key: {"$ref": f"#/$defs/d{level + 1}", "description": key} for key in "ab"},
            "required": ["a", "b"],
        }
        for level in range(levels)
    }
    return read_schema({"$ref": "#/$defs/d0", "$defs": {**kinds, f"d{levels}": {"type": "string"}}})


@pytest.mark.parametrize("provider", SCHEMAS)
@pytest.mark.parametrize("levels", [1, 4, 9, 26])
def test_a_request_is_no_longer_than_the_worst_case_that_budgets_reserve(levels: int, provider: str) -> None:
    schema = nested(levels)
    sent = len(json.dumps(asked(provider, schema)))
    assert sent - 400 < measure(Prompt((Message("user", "a"),), schema=schema)).for_model(MODELS[provider]).worst_input
    assert sent < 2_000 * levels
