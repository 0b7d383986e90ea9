from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from llmroute.errors import RequestError
from llmroute.schema.answer_schema import list_of, read_schema, schema_of_json
from llmroute.schema.document import AnswerDocument, SchemaErrors, read_document
from llmroute.schema.vendor_forms import IN_WORDS


class Dog(BaseModel):
    name: str
    age: int


def rejected(given: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_schema(given)
    assert caught.value.option == "schema"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    return caught.value


def test_the_short_form_is_an_object_with_all_fields_required_in_order() -> None:
    assert read_schema("name, age int, bio: one sentence").document == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "bio": {"type": "string", "description": "one sentence"},
        },
        "required": ["name", "age", "bio"],
    }


def test_fields_on_lines_may_have_commas_in_their_descriptions() -> None:
    found = read_schema("\n name str: first, then last: both \n\n height float\n tall bool \n").document
    assert found["properties"] == {
        "name": {"type": "string", "description": "first, then last: both"},
        "height": {"type": "number"},
        "tall": {"type": "boolean"},
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("age integer", "did you mean int?"),
        ("tags list", "use one of str, int, float, bool"),
        ("a, b, a int", "'a' is repeated"),
        (": no name", "has no name"),
        ("", "no fields"),
        (" , ,", "no fields"),
        ("age int years", "after its type"),
        ("[broken, x", "cannot be the name"),
    ],
)
def test_a_short_form_with_a_mistake_is_rejected(text: str, word: str) -> None:
    error = rejected(text)
    assert word in f"{error.message} {error.hint}"


def test_json_text_that_does_not_parse_is_never_a_short_form() -> None:
    assert "not valid JSON" in rejected("{broken, x").message
    assert "not valid JSON" in rejected(' {"type": "object", "type": "array"}').message


@pytest.mark.parametrize(
    "document",
    [
        {"type": "objekt"},
        {"type": "string", "minLength": "3"},
        {"$ref": 3},
        {"$schema": 3},
        {"$schema": "https://example.com/unknown"},
        {"properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "other.json#/$defs/a"},
        {"$ref": "#"},
        {"anyOf": [{"type": "null"}, {"allOf": [{"$ref": "#"}]}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "properties": {"x": {"$ref": "#/$defs/a"}}},
        {"type": "string", "pattern": "("},
        {"type": "object", "patternProperties": {"[": {}}},
        {"const": float("nan")},
        {"const": object()},
        {1: 2},
        {"title": "\ud800"},
        {"properties": {"a": {"$ref": "#/required"}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"type": 5}}},
        {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"pattern": "("}}},
        {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": "text"}},
        {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"$ref": "#/x/z"}, "z": {"type": "strang"}}},
        {"$dynamicAnchor": "x", "$dynamicRef": "#x"},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveRef": "#"},
    ],
)
def test_a_document_that_is_no_schema_is_rejected(document: Any) -> None:
    rejected(document)


@pytest.mark.parametrize("given", [3, None, int, Dog(name="x", age=1), ["a"]])
def test_what_can_hold_no_schema_is_rejected(given: Any) -> None:
    rejected(given)


def test_the_draft_that_a_schema_names_is_the_one_it_is_checked_by() -> None:
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    assert read_schema(draft4).document == draft4
    rejected({"minimum": 3, "exclusiveMinimum": True})


@pytest.mark.parametrize(
    "document",
    [
        {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"},
        {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}},
        {"$id": "https://example.com/a", "$ref": "#b", "$defs": {"b": {"$anchor": "b", "type": "null"}}},
        {"$id": "https://example.com/a", "properties": {"x": {"$ref": "/a#/$defs/b"}}, "$defs": {"b": {}}},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
        {"enum": [{"$ref": "https://example.com/"}]},
    ],
)
def test_references_within_a_schema_are_accepted(document: Any) -> None:
    assert read_schema(document).document == document


def test_a_model_class_is_read_as_its_own_schema() -> None:
    found = read_schema(Dog)
    assert found.document == Dog.model_json_schema()
    assert found.model is Dog


def test_a_schema_is_a_copy_and_equal_by_its_text_and_class() -> None:
    given: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    first = read_schema(given)
    given["properties"]["a"]["type"] = "nonsense"
    second = read_schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert first == second
    assert hash(first) == hash(second)
    assert read_schema(Dog) != read_schema(Dog.model_json_schema())


def test_the_text_of_a_file_may_begin_with_a_byte_order_mark_but_must_be_an_object() -> None:
    assert schema_of_json('\ufeff {"type": "null"}\n').document == {"type": "null"}
    with pytest.raises(RequestError, match="must be an object"):
        schema_of_json("[1]")


def test_a_list_of_a_schema_keeps_its_references() -> None:
    inner = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    found = list_of(read_schema(inner))
    assert found.document["required"] == ["items"]
    assert found.document["properties"]["items"]["items"]["$ref"] == "#/properties/items/items/$defs/n"


@pytest.mark.parametrize(
    "own",
    [
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": True, "$recursiveRef": "#"},
        {"$id": "https://example.com/tree", "$ref": "https://example.com/tree"},
        {"$id": "https://example.com/tree", "$ref": "https://example.com/tree#"},
        {"$ref": "#"},
    ],
)
def test_a_schema_in_a_list_may_refer_to_itself(own: dict[str, Any]) -> None:
    reference = {key: own.pop(key) for key in ("$ref", "$recursiveRef") if key in own}
    schema = {**own, "type": "object", "properties": {"next": reference}, "additionalProperties": False}
    found = list_of(read_schema(schema))
    assert isinstance(read_document('{"items": [{"next": {"next": {}}}]}', found, IN_WORDS), AnswerDocument)
    assert isinstance(read_document('{"items": [{"next": {"other": {}}}]}', found, IN_WORDS), SchemaErrors)
