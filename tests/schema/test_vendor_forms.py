from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from llmroute.schema.answer_schema import read_schema
from llmroute.schema.subschemas import walk
from llmroute.schema.vendor_forms import AnswerForm, form_for
from tests.schema.generated import answered, model

OPENAI_REFUSES = {
    *("allOf", "not", "oneOf", "default", "patternProperties", "uniqueItems", "if", "then", "else", "minLength"),
    *("maxLength", "dependentRequired", "dependentSchemas", "$schema", "$id", "definitions", "prefixItems"),
}
ANTHROPIC_REFUSES = OPENAI_REFUSES | {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "maxItems"),
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "The name."},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "mail": {"type": "string", "format": "email", "pattern": "^(?=x)"},
        "web": {"type": "string", "format": "iri"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
        "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["name"],
    "additionalProperties": True,
}
TREE = {
    "$defs": {"n": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/n"}}}}},
    "$ref": "#/$defs/n",
}


def form(provider: str, document: Any, **named: Any) -> AnswerForm:
    return form_for(read_schema(document), model(provider, **named))


def derived(provider: str, document: Any) -> Any:
    found = form(provider, document).schema
    assert found is not None
    return found


def assert_openai_takes(schema: Any) -> None:
    assert schema["type"] == "object"
    assert "anyOf" not in schema
    for node in walk(schema):
        assert not OPENAI_REFUSES & node.keys()
        assert {"$ref"} == node.keys() or "anyOf" in node or "type" in node
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


def assert_anthropic_takes(schema: Any) -> None:
    for node in walk(schema):
        assert not ANTHROPIC_REFUSES & node.keys()
        assert node.get("minItems", 0) in (0, 1)
        if node.get("type") == "object":
            assert node["additionalProperties"] is False


@settings(max_examples=80, deadline=None)
@given(answered())
def test_derived_forms_have_nothing_that_the_vendor_rejects(case: tuple[dict[str, Any], Any]) -> None:
    assert_openai_takes(derived("openai", case[0]))
    found = form("anthropic", case[0]).schema
    if found is not None:
        assert_anthropic_takes(found)


def test_openai_is_told_in_descriptions_what_it_does_not_take() -> None:
    found = derived("openai", PERSON)
    assert_openai_takes(found)
    assert found["properties"]["name"] == {"type": "string", "description": "The name. {minLength: 1}"}
    assert found["properties"]["age"] == {"type": ["integer", "null"], "minimum": 0, "maximum": 150}
    assert found["properties"]["mail"]["format"] == "email"
    assert "pattern" in found["properties"]["mail"]["description"]
    assert found["properties"]["web"]["description"] == '{format: "iri"}'
    assert found["properties"]["either"]["anyOf"] == [{"type": "string"}, {"type": "integer"}, {"type": "null"}]
    assert form("openai", PERSON).strict


def test_anthropic_keeps_optional_properties_and_gets_no_limits() -> None:
    found = derived("anthropic", PERSON)
    assert_anthropic_takes(found)
    assert found["required"] == ["name"]
    assert found["properties"]["age"] == {"type": "integer", "description": "{minimum: 0, maximum: 150}"}
    assert found["properties"]["tags"]["description"] == "{minItems: 2, uniqueItems: true}"


def test_recursion_stays_at_openai_and_goes_into_words_at_anthropic() -> None:
    assert_openai_takes(derived("openai", TREE))
    assert form("openai", TREE).strict
    assert form("anthropic", TREE) == AnswerForm(None, in_words=True)


@pytest.mark.parametrize(
    "document",
    [{"type": "array", "items": {"type": "string"}}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, {"const": 3}],
)
def test_a_root_that_is_no_object_is_wrapped(document: Any) -> None:
    for provider in ("openai", "anthropic", "mistral", "together"):
        found = form(provider, document)
        assert found.wrapped
        assert found.schema is not None
        assert found.schema["required"] == ["answer"]
    assert form("ollama", document) == AnswerForm(document, in_words=True)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object"},
        {"type": "object", "properties": {"any": {}}},
        {"type": "object", "properties": {"a": {"type": "null"}}, "patternProperties": {"^x": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$id": "https://example.com/a", "type": "string"}}},
        {"type": "object", "properties": {"pair": {"type": "array", "prefixItems": [{"type": "string"}]}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"enum": [{"x": 1}]}}},
        {"allOf": [{"type": "object"}, {"type": "string"}]},
    ],
)
def test_what_cannot_be_expressed_is_asked_of_openai_without_strict_and_of_anthropic_in_words(document: Any) -> None:
    openai = form("openai", document)
    assert openai.schema is not None
    assert not openai.strict
    assert form("anthropic", document) == AnswerForm(None, in_words=True)


def test_parts_of_all_of_are_merged() -> None:
    document = {
        "allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}],
        "$defs": {"base": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}},
    }
    for provider in ("openai", "anthropic"):
        found = derived(provider, document)
        assert set(found["properties"]) == {"a", "b"}
        assert found["required"] == ["a", "b"]


def test_alternatives_beside_properties_are_told() -> None:
    document = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    found = derived("openai", document)
    assert_openai_takes(found)
    assert found["description"].startswith("{anyOf: ")


@pytest.mark.parametrize(
    "document",
    [
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(5_001)}},
        {"type": "object", "properties": {"e": {"enum": [f"v{n}" for n in range(1_001)]}}},
        {"type": "object", "properties": {"e": {"enum": [f"{n}".zfill(60) for n in range(251)]}}},
        {"type": "object", "properties": {"x" * 120_001: {"type": "string"}}},
    ],
)
def test_a_schema_over_the_limits_of_openai_is_not_strict(document: Any) -> None:
    assert not form("openai", document).strict


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "object", "properties": {"a": inner}, "required": ["a"]}
    return inner


def test_openai_takes_ten_levels_of_nesting() -> None:
    assert form("openai", nested(10)).strict
    assert not form("openai", nested(11)).strict


def optional(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}


def unions(count: int) -> dict[str, Any]:
    names = [f"p{n}" for n in range(count)]
    return {"type": "object", "properties": {name: {"type": ["string", "null"]} for name in names}, "required": names}


def test_anthropic_takes_24_optional_properties_and_16_unions() -> None:
    for fits, too_many in ((optional(24), optional(25)), (unions(16), unions(17))):
        assert form("anthropic", fits).schema is not None
        assert form("anthropic", too_many).schema is None


def test_a_fine_tuned_model_of_openai_gets_no_limits() -> None:
    found = form(
        "openai", {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}, name="ft:gpt-4o:me"
    )
    assert found.strict
    assert "minimum" not in next(iter((found.schema or {})["properties"].values()))


def test_the_booleans_of_draft_4_are_told() -> None:
    document = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 3, "exclusiveMinimum": True}},
        "required": ["a"],
    }
    found = derived("openai", document)["properties"]["a"]
    assert found == {"type": "integer", "minimum": 3, "description": "{exclusiveMinimum: true}"}


def test_a_model_without_a_native_form_is_asked_in_words() -> None:
    assert form("together", PERSON, native=False) == AnswerForm(None, in_words=True)


def test_open_models_get_the_schema_as_it_is_and_in_words() -> None:
    for provider in ("mistral", "together", "ollama"):
        found = form(provider, {"$schema": "https://json-schema.org/draft/2020-12/schema", **PERSON})
        assert found.schema == ({**PERSON} if provider != "ollama" else found.schema)
        assert found.in_words


def test_a_grammar_gets_no_patterns_that_it_cannot_compile_and_no_reference_to_the_whole() -> None:
    document = {
        "type": "object",
        "properties": {
            "kids": {"type": "array", "items": {"$ref": "#"}},
            "a": {"type": "string", "pattern": "^[a-z]+$"},
            "b": {"type": "string", "pattern": "[a-z]"},
        },
    }
    found = derived("ollama", document)
    assert found["$ref"] == "#/$defs/root"
    root = found["$defs"]["root"]
    assert root["properties"]["kids"]["items"] == {"$ref": "#/$defs/root"}
    assert root["properties"]["a"]["pattern"] == "^[a-z]+$"
    assert "pattern" not in root["properties"]["b"]


def test_a_grammar_gets_no_boolean_schemas_and_no_escaped_references() -> None:
    document = {
        "type": "object",
        "properties": {"any": True, "none": False, "n": {"$ref": "#/$defs/a%20b"}},
        "additionalProperties": False,
        "$defs": {"a b": {"type": "integer"}},
    }
    found = derived("builtin", document)
    assert found["properties"] == {"any": {}, "none": {"not": {}}, "n": {"$ref": "#/$defs/a b"}}
    assert found["additionalProperties"] is False


def test_deriving_leaves_the_schema_itself_unchanged() -> None:
    schema = read_schema(PERSON)
    for provider in ("openai", "anthropic", "mistral", "together", "ollama", "builtin"):
        form_for(schema, model(provider))
    assert json.dumps(schema.document) == json.dumps(PERSON)
