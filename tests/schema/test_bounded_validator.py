"""Checks that end and are exact, on the schemas and answers that make others slow or wrong."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.schema import bounded_validator
from llmroute.schema import document as documents
from llmroute.schema.answer_schema import read_schema
from llmroute.schema.bounded_validator import within
from llmroute.schema.document import AnswerDocument, SchemaErrors, read_document
from llmroute.schema.validity import validator_of
from llmroute.schema.vendor_forms import IN_WORDS

LETTERS = "a" * 60 + "!"


def read(answer: Any, schema: dict[str, Any]) -> AnswerDocument | SchemaErrors:
    return read_document(json.dumps(answer), read_schema(schema), IN_WORDS)


def test_the_time_that_other_threads_and_programs_take_does_not_count() -> None:
    validator = validator_of(read_schema({"type": "array", "items": {"type": "integer"}}))
    assert validator.is_valid([1])
    with within(0.5):
        time.sleep(0.7)
        assert validator.is_valid([1, 2, 3])


def test_a_pattern_is_searched_again_where_other_threads_used_up_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts_s: list[float] = []

    class Pattern:
        def search(self, text: str, *, timeout: float, concurrent: bool) -> Any:
            timeouts_s.append(timeout)
            if len(timeouts_s) < 3:
                raise TimeoutError
            return re.search("a", text) if concurrent else None

    monkeypatch.setattr(bounded_validator, "compiled", lambda _pattern: Pattern())
    with within(60):
        assert bounded_validator.matches("a", "banana")
    assert timeouts_s[1:] == [2 * timeouts_s[0], 4 * timeouts_s[0]]


def is_valid(answer: Any, schema: dict[str, Any]) -> bool:
    return isinstance(read(answer, schema), AnswerDocument)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"type": "string", "pattern": "^(a|a)*b?c?$"}, LETTERS),
        ({"type": "object", "patternProperties": {"^(a|a)*b?c?$": {"type": "null"}}}, {LETTERS: 1}),
        (
            {"type": "object", "patternProperties": {"^(a|a)*b?c?$": {}}, "additionalProperties": False},
            {LETTERS: 1},
        ),
        (
            {"allOf": [{"patternProperties": {"^(a|a)*b?c?$": {}}}], "type": "object", "unevaluatedProperties": False},
            {LETTERS: 1},
        ),
    ],
)
def test_a_pattern_that_takes_exponential_time_ends_as_an_invalid_answer(
    schema: dict[str, Any], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "VALIDATION_S", 0.2)
    assert read(answer, schema) == SchemaErrors(("it could not be checked within 0.2 s",))


NAMED = st.dictionaries(st.sampled_from("abc"), st.sampled_from([True, {"type": "integer"}]), max_size=2)
TOP = st.fixed_dictionaries(
    {},
    optional={
        "properties": NAMED,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "[bc]"]), st.just({"type": "integer"}), max_size=1),
        "additionalProperties": st.sampled_from([{"type": "string"}, False]),
        "required": st.lists(st.sampled_from("abc"), max_size=1),
        "$ref": st.just("#/$defs/d"),
    },
)
PARTS = st.recursive(
    TOP,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": NAMED,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": st.dictionaries(st.sampled_from("abc"), inner, max_size=1),
        },
    ),
    max_leaves=4,
)


@given(
    draft=st.sampled_from(["2019-09", "2020-12"]),
    part=PARTS,
    rest=st.sampled_from([False, {"type": "integer"}]),
    answer=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([1, "x"]), max_size=3),
)
def test_properties_are_unevaluated_where_jsonschema_says_so(
    draft: str, part: dict[str, Any], rest: Any, answer: dict[str, Any]
) -> None:
    defined = {"d": {"properties": {"a": True}, "patternProperties": {"^d": {"type": "string"}}}}
    schema = {
        "$schema": f"https://json-schema.org/draft/{draft}/schema",
        "type": "object",
        "$defs": defined,
        "allOf": [part],
        "unevaluatedProperties": rest,
    }
    # In the older draft these keywords mean the same; jsonschema reads additionalProperties there as named properties.
    assert is_valid(answer, schema) == jsonschema.Draft202012Validator(schema).is_valid(answer)


def _node(kind: str, **parts: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, **parts},
        "required": ["kind", *parts],
        "additionalProperties": False,
    }


def _chain(depth: int, innermost: object) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": "number", "value": innermost}
    for _ in range(depth):
        value = {"kind": "add", "left": value, "right": {"kind": "number", "value": 1}}
    return value


@pytest.mark.parametrize("schema", [{}, {"$schema": "http://json-schema.org/draft-07/schema#"}])
def test_a_recursive_union_is_read_at_any_depth_and_an_error_in_it_ends(
    schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "SEARCH_S", 0.1)
    whole = {"$ref": "#"}
    parts = [
        _node("add", left=whole, right=whole),
        _node("multiply", left=whole, right=whole),
        _node("number", value={"type": "number"}),
    ]
    union = {**schema, "anyOf": parts}
    assert is_valid(_chain(40, 7), union)
    found = read(_chain(20, "seven"), union)
    assert found == SchemaErrors(("it is not valid, and its errors are too many to look for",))


@pytest.mark.parametrize(
    ("number", "factor", "expected"),
    [(19.99, 0.01, True), (19.999, 0.01, False), (1e300, 0.01, True), (7, 2, False), (8, 2, True), (0.3, 0.1, True)],
)
def test_multiples_of_decimal_fractions_are_exact(number: float, factor: float, expected: bool) -> None:
    assert is_valid({"a": number}, {"type": "object", "properties": {"a": {"multipleOf": factor}}}) is expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from((0.0, 1.0, "", "1")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(VALUES, max_size=5))
def test_items_are_unique_as_jsonschema_has_it(items: list[Any]) -> None:
    schema = {"type": "array", "uniqueItems": True}
    assert is_valid(items, schema) == jsonschema.Draft202012Validator(schema).is_valid(items)


@given(
    st.dictionaries(st.text(st.sampled_from("abx"), max_size=3), st.sampled_from([1, "1"]), max_size=4),
    st.sampled_from([True, False, {"type": "string"}]),
)
def test_properties_match_patterns_as_jsonschema_has_it(value: dict[str, Any], rest: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "patternProperties": {"^b": {"type": "integer"}, "x$": {"type": "string", "pattern": "1"}},
        "additionalProperties": rest,
    }
    assert is_valid(value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


@given(
    st.lists(st.sampled_from([{"minimum": 2}, {"maximum": 5}, {"type": "integer"}, False]), min_size=1), st.floats(0, 9)
)
def test_exactly_one_alternative_holds_where_one_of_says_so(parts: list[Any], number: float) -> None:
    for keyword in ("oneOf", "anyOf"):
        schema = {"properties": {"a": {keyword: parts}}}
        assert is_valid({"a": number}, schema) == jsonschema.Draft202012Validator(schema).is_valid({"a": number})
