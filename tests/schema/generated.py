"""Random small schemas with documents that are valid against them, and the form a provider would answer in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llmroute.types import ModelConfig

NAMES = ("a", "b", "Kind", "x/y", "t~z", "p%41")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)


def model(provider: str, name: str = "m", *, native: bool = True) -> ModelConfig:
    return ModelConfig(provider, name, name, capabilities=frozenset({"json"} if native else ()))


def scalars() -> st.SearchStrategy[tuple[dict[str, Any], st.SearchStrategy[Any]]]:
    enum = st.lists(st.sampled_from(("Red", "green", "BLUE", "red")), min_size=1, max_size=3, unique=True)
    return st.one_of(
        st.just(({"type": "integer", "minimum": -5, "maximum": 5}, st.integers(-5, 5))),
        st.just(({"type": "string", "maxLength": 6}, TEXTS)),
        st.just(({"type": ["boolean", "null"]}, st.sampled_from((True, False, None)))),
        st.just(({"type": "number", "multipleOf": 0.5}, st.integers(-9, 9).map(lambda n: n / 2))),
        st.just(({"const": "Fixed"}, st.just("Fixed"))),
        enum.map(lambda values: ({"type": "string", "enum": values}, st.sampled_from(values))),
    )


def _array(item: tuple[dict[str, Any], st.SearchStrategy[Any]]) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    return {"type": "array", "items": item[0], "maxItems": 3}, st.lists(item[1], max_size=3)


@st.composite
def _object(draw: st.DrawFn, inner: Any) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    parts = {name: draw(inner) for name in names}
    # Of a property that may be null and absent, null stays null.
    required = [name for name in names if draw(st.booleans()) or Draft202012Validator(parts[name][0]).is_valid(None)]
    schema = {"type": "object", "properties": {name: part[0] for name, part in parts.items()}, "required": required}
    values = st.fixed_dictionaries(
        {name: parts[name][1] for name in required},
        optional={name: parts[name][1] for name in names if name not in required},
    )
    return schema, values


def _either(pair: list[tuple[dict[str, Any], st.SearchStrategy[Any]]]) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    return {"anyOf": [part[0] for part in pair]}, st.one_of(*(part[1] for part in pair))


def schemas() -> st.SearchStrategy[tuple[dict[str, Any], st.SearchStrategy[Any]]]:
    """Schemas, each with the strategy of its documents; no two alternatives are objects."""
    return st.recursive(
        scalars(),
        lambda inner: st.one_of(
            inner.map(_array), _object(inner), st.tuples(_object(inner), scalars()).map(list).map(_either)
        ),
        max_leaves=6,
    )


@st.composite
def answered(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """A schema and a document that is valid against it."""
    schema, documents = draw(schemas())
    return schema, draw(documents)


def with_nulls(schema: dict[str, Any], value: Any) -> Any:
    """Return a document as a form has it whose properties are all required: null for each that is absent."""
    if "anyOf" in schema:
        branch = next((part for part in schema["anyOf"] if "properties" in part), schema)
        return with_nulls(branch, value) if isinstance(value, dict) else value
    if isinstance(value, dict):
        return {name: with_nulls(part, value.get(name)) for name, part in schema["properties"].items()}
    if isinstance(value, list):
        return [with_nulls(schema["items"], part) for part in value]
    return value
