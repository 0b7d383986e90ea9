from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator

from llmroute.schema.answer_schema import read_schema
from llmroute.schema.document import MOST_CHARACTERS, MOST_ERRORS, AnswerDocument, SchemaErrors, read_document
from llmroute.schema.repair import repair_prompt
from llmroute.schema.vendor_forms import IN_WORDS, NAME, form_for
from llmroute.types import Message, Prompt
from tests.schema.generated import answered, model, with_nulls

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


def read(text: str, schema: Any = PERSON, provider: str | None = None) -> AnswerDocument | SchemaErrors:
    found = read_schema(schema)
    return read_document(text, found, form_for(found, model(provider)) if provider else IN_WORDS)


def value(text: str, schema: Any = PERSON, provider: str | None = None) -> Any:
    found = read(text, schema, provider)
    assert isinstance(found, AnswerDocument), found
    assert json.loads(found.text) == found.value
    return found.value


def errors(text: str, schema: Any = PERSON, provider: str | None = None) -> tuple[str, ...]:
    found = read(text, schema, provider)
    assert isinstance(found, SchemaErrors), found
    return found.lines


@settings(max_examples=100, deadline=None)
@given(answered())
def test_mapping_back_is_the_inverse_of_the_form(case: tuple[dict[str, Any], Any]) -> None:
    schema, document = case
    found = read_schema(schema)
    openai = form_for(found, model("openai"))
    assert openai.strict
    sent = with_nulls(schema, document)
    sent = {NAME: sent} if openai.wrapped else sent
    jsonschema.validate(sent, dict(openai.schema or {}))
    assert value(json.dumps(sent), schema, "openai") == document


@pytest.mark.parametrize("number", ["1.0e5", "1E+2", "1.50", "-0.0", "-0", "12345678901234567890.1", "7"])
@pytest.mark.parametrize(("provider", "form"), [(None, "{}"), ("openai", '{{"answer": {}}}')])
def test_numbers_are_written_as_the_model_wrote_them(number: str, provider: str | None, form: str) -> None:
    items = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"enum": ["Red"]}]}}
    found = read(form.format(f'[{number}, "red"]'), items, provider)
    assert isinstance(found, AnswerDocument), found
    assert found.text == f'[{number},"Red"]'
    assert [type(part) for part in found.value] == [type(json.loads(number)), str]


@pytest.mark.parametrize("number", ["1" * 5_000, "-1e999"])
def test_a_number_that_no_computer_reads_is_an_error_with_its_beginning(number: str) -> None:
    (line,) = errors(f'{{"name": "x", "age": {number}}}')
    assert line == f"not one JSON document: the number {number[:60]} is too large"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(("Red", "RED", "fixed", "x"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("a", "b", "Kind", NAME)), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(answered(), JSON, st.sampled_from(("openai", "anthropic", "mistral", "ollama")))
def test_what_is_accepted_is_valid(case: tuple[dict[str, Any], Any], sent: Any, provider: str) -> None:
    found = read(json.dumps(sent), case[0], provider)
    if isinstance(found, AnswerDocument):
        jsonschema.validate(json.loads(found.text), case[0])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "x"}',
        ' \n{"name": "x"}\n',
        '```json\n{"name": "x"}\n```',
        'Here it is:\n\n```\n{"name": "x"}\n```\nEnjoy!',
        '~~~JSON\r\n{"name": "x"}\r\n~~~',
        '```json\n{"name": "x"}',
        '```json {"name": "x"}```',
        '\ufeff{"name": "x"}',
    ],
)
def test_a_document_may_stand_in_one_fenced_block(text: str) -> None:
    assert value(text) == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not one JSON document"),
        ("I cannot do that.", "not one JSON document"),
        ('{"name": "x"} {"name": "y"}', "Extra data"),
        ('```\n{"name": "x"}\n```\n```\n{"name": "y"}\n```', "2 fenced blocks"),
        ('{"name": "x", "age": NaN}', "NaN"),
        ('{"name": "x", "age": 1e999}', "too large"),
        ('{"name": "x", "name": "y"}', "'name' is repeated"),
        ('{"name": "\\ud800"}', "half a character"),
        ('{"name": "x"', "line 1"),
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "x", "age": ' + "9" * 5_000 + "}", "not one JSON document"),
    ],
)
def test_what_is_not_one_json_document_is_an_error(text: str, word: str) -> None:
    (line,) = errors(text)
    assert word in line
    assert len(line) <= MOST_CHARACTERS


def test_errors_name_the_place_by_its_json_pointer() -> None:
    assert errors('{"name": 1, "age": "old"}') == (
        "/name: 1 is not of type 'string'",
        "/age: 'old' is not of type 'integer'",
    )
    assert errors("{}") == ("'name' is a required property",)


def test_errors_are_few_short_and_printable() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    lines = errors(json.dumps({f"\x1b[2J{n}/" * 90: "\x1b]0;" + "y" * 9_000 for n in range(50)}), schema)
    assert len(lines) == MOST_ERRORS
    assert all(len(line) <= MOST_CHARACTERS and line.isprintable() for line in lines)


def test_the_best_alternative_says_what_is_wrong() -> None:
    schema = {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"type": "integer"}}}]}
    assert errors('{"a": "x"}', schema) == ("/a: 'x' is not of type 'integer'",)


@pytest.mark.parametrize(
    ("format_", "right", "wrong"),
    [
        ("date", "2026-11-27", "2026-13-27"),
        ("date-time", "2026-11-27T10:00:00Z", "2026-11-27"),
        ("time", "10:00:00Z", "ten"),
        ("duration", "PT5M", "5 min"),
        ("duration", "-P1Y2M3DT4H5M6.7S", "P1Y2"),
        ("duration", "P2W", "P1Y2W"),
        ("duration", "P1D", "P1DT"),
        ("uri", "https://example.com/a", "not a uri"),
        ("uri", "https://example.com/%C3%A9", "https://example.com/é"),
        ("uri-reference", "../a?b#c", "a b"),
        ("uri-template", "/a/{b}", "/a/{b"),
        ("iri", "https://bücher.example/é?ß#日", "/é"),
        ("iri", "https://example.com/?\ue000", "https://example.com/\ue000"),
        ("iri", "http://\U00010000.example", "ht\u00e9p://example.com"),
        ("iri", "mailto:é", "https://example.com/\n"),
        ("iri-reference", "é/ü", "é ü"),
        ("hostname", "example.com", "-example-"),
        ("idn-hostname", "bücher.example", "-ü-"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("email", "a@example.com", "a"),
        ("json-pointer", "/a/0", "a"),
        ("relative-json-pointer", "1/a", "/a"),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
        ("regex", "^a$", "("),
    ],
)
def test_formats_are_checked(format_: str, right: str, wrong: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": format_}}}
    assert value(json.dumps({"a": right}), schema)
    assert errors(json.dumps({"a": wrong}), schema)


@pytest.mark.parametrize(
    ("draft", "format_", "is_checked"),
    [
        ("http://json-schema.org/draft-03/schema#", "color", True),
        ("http://json-schema.org/draft-06/schema#", "iri", False),
        ("http://json-schema.org/draft-07/schema#", "iri", True),
        ("http://json-schema.org/draft-07/schema#", "duration", False),
        ("https://json-schema.org/draft/2019-09/schema", "duration", True),
    ],
)
def test_a_format_is_checked_from_the_draft_that_has_it(draft: str, format_: str, is_checked: bool) -> None:
    schema = {"$schema": draft, "type": "object", "properties": {"a": {"type": "string", "format": format_}}}
    answer = '{"a": "no such thing"}'
    assert errors(answer, schema) if is_checked else value(answer, schema)


@pytest.mark.parametrize("text", ['{"name": "x"}', '[{"answer": 1}]', '{"answer": {"name": "x"}, "more": 1}'])
def test_an_answer_in_another_wrapping_is_told_by_the_schema_of_the_caller(text: str) -> None:
    (told,) = errors(text, {"type": "array", "items": PERSON}, "openai")
    assert "is not of type 'array'" in told or "'name' is a required property" in told


def test_an_answer_without_its_wrapping_is_taken_where_it_is_valid() -> None:
    assert value('["a"]', {"type": "array", "items": {"type": "string"}}, "openai") == ["a"]
    assert value('{"answer": ["a"]}', {"type": "array", "items": {"type": "string"}}, "openai") == ["a"]


def test_a_model_that_is_asked_in_words_too_may_leave_the_wrapping_out() -> None:
    assert value('{"answer": ["x"]}', {"type": "array"}, "mistral") == ["x"]
    assert value('["x"]', {"type": "array"}, "mistral") == ["x"]
    own = {"oneOf": [_has("answer"), _has("error")]}
    assert value('{"answer": "x"}', own, "mistral") == {"answer": "x"}
    assert value('{"answer": {"error": "x"}}', own, "mistral") == {"error": "x"}


def _has(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def test_null_stays_where_the_schema_has_it_or_the_form_does_not_use_it() -> None:
    may_be_null = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
    assert value('{"a": null}', may_be_null, "openai") == {"a": None}
    assert errors('{"name": "x", "age": null}', PERSON, "anthropic")
    assert value('{"name": "x", "age": null}', PERSON, "openai") == {"name": "x"}
    assert errors('{"name": null}', PERSON, "openai")


def test_null_is_dropped_in_the_alternative_that_names_the_keys() -> None:
    schema = {
        "anyOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}, "c": {"type": "integer"}}, "required": ["a"]},
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a"]},
        ]
    }
    assert value('{"answer": {"a": 1, "b": null}}', schema, "openai") == {"a": 1}


COLOR = {"type": "object", "properties": {"color": {"enum": ["Red", "Green"]}}, "required": ["color"]}


def test_an_enum_that_differs_in_case_only_is_restored() -> None:
    assert value('{"color": "RED"}', COLOR) == {"color": "Red"}
    assert value('["FIXED"]', {"items": {"$ref": "#/$defs/f"}, "$defs": {"f": {"const": "Fixed"}}}) == ["Fixed"]
    assert errors('{"color": "reddish"}', COLOR)


def test_case_is_restored_in_lists_of_items_in_patterns_and_under_conditions() -> None:
    red = {"enum": ["red"]}
    tuples = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [red], "additionalItems": {"enum": ["x"]}}
    assert value('["RED", "X"]', tuples) == ["red", "x"]
    assert value('{"color": "RED"}', {"patternProperties": {"^c": red}}) == {"color": "red"}
    kinds = {"properties": {"kind": {"const": 1}}, "required": ["kind"]}
    either = {"if": kinds, "then": {"properties": {"a": red}}, "else": {"properties": {"a": {"const": "blue"}}}}
    assert value('{"kind": 1, "a": "RED"}', either) == {"kind": 1, "a": "red"}
    assert value('{"kind": 2, "a": "BLUE"}', either) == {"kind": 2, "a": "blue"}


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["Red", "red"]},
        {"anyOf": [{"const": "Red"}, {"const": "red"}]},
        {"oneOf": [{"$ref": "#/$defs/a"}, {"enum": ["red"]}], "$defs": {"a": {"const": "Red"}}},
    ],
)
def test_values_that_differ_in_case_only_are_never_confused(schema: Any) -> None:
    assert value('"Red"', schema) == "Red"
    assert value('"red"', schema) == "red"
    assert errors('"RED"', schema)


def test_case_is_restored_in_the_alternative_that_fits() -> None:
    schema = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "Cat"}, "n": {"type": "integer"}},
                "required": ["kind"],
            },
            {"type": "object", "properties": {"kind": {"const": "Dog"}, "n": {"type": "string"}}, "required": ["kind"]},
        ]
    }
    assert value('{"kind": "DOG", "n": "x"}', schema) == {"kind": "Dog", "n": "x"}


def test_a_recursive_document_is_read_at_every_depth() -> None:
    schema = {
        "type": "object",
        "properties": {"v": {"enum": ["A"]}, "next": {"$ref": "#"}},
        "required": ["v"],
        "additionalProperties": False,
    }
    sent: Any = None
    for _ in range(30):
        sent = {"v": "a", "next": sent}
    assert errors(json.dumps(sent), schema, "mistral")
    found: Any = {"v": "A"}
    for _ in range(29):
        found = {"v": "A", "next": found}
    assert value(json.dumps(sent).replace('"a"', '"A"'), schema, "openai") == found


class Pet(BaseModel):
    kind: Literal["Cat", "Dog"]
    name: str

    @field_validator("name")
    @classmethod
    def short(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError("the name is too long")
        return name


def test_a_model_class_gives_an_instance_and_its_own_validators_hold() -> None:
    found = read('{"kind": "cat", "name": "Tom"}', Pet)
    assert isinstance(found, AnswerDocument)
    assert found.parsed == Pet(kind="Cat", name="Tom")
    assert errors('{"kind": "Cat", "name": "Thomas"}', Pet) == ("/name: Value error, the name is too long",)


@pytest.mark.parametrize("failure", [KeyError("a"), StopIteration(), RecursionError(), TypeError("no")])
def test_whatever_the_validators_of_a_model_class_raise_is_an_error_of_the_answer(failure: Exception) -> None:
    class Broken(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _check(cls, _value: str) -> str:
            raise failure

    assert errors('{"name": "x"}', Broken)


def test_a_repair_ends_with_a_turn_of_the_user_that_lists_the_errors() -> None:
    prompt = Prompt((Message("user", "who?"),), system="be brief")
    again = repair_prompt(prompt, '{"name": 1}', ("/name: wrong", "/age: wrong"))
    assert again.system == prompt.system
    assert [message.role for message in again.messages] == ["user", "assistant", "user"]
    assert again.messages[1].content == '{"name": 1}'
    assert "- /name: wrong\n- /age: wrong" in again.messages[2].content
