"""The types of the values that a part of a schema allows."""

from __future__ import annotations

from typing import Any

SCALARS = ("string", "integer", "number", "boolean", "null")
_CONCERNS = {
    ("integer", "number"): ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    ("string",): ("minLength", "maxLength", "pattern", "format"),
    ("array",): ("minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
    ("object",): ("minProperties", "maxProperties", "propertyNames", "dependentRequired"),
}
"""The keywords that say something of values of some types only."""


def types_of(node: dict[str, Any]) -> list[str]:
    """Return the types of a schema's values: those it names, or those that its other keywords imply."""
    named = node.get("type")
    if isinstance(named, str):
        return [named]
    if isinstance(named, list) and named and all(isinstance(kind, str) for kind in named):
        return list(dict.fromkeys(named))
    if "properties" in node:
        return ["object"]
    if "items" in node:
        return ["array"]
    values = node.get("enum", [node["const"]] if "const" in node else [])
    return list(dict.fromkeys(_type_of(value) for value in values))


def _type_of(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"))
    if value is None:
        return "null"
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def concerns(key: str, derived: dict[str, Any]) -> bool:
    """Whether a keyword says something of the values of a form."""
    kinds = derived.get("type", [])
    own = {kinds} if isinstance(kinds, str) else set(kinds)
    return all(key not in keys or own & set(types) for types, keys in _CONCERNS.items())


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a form that null is valid against too."""
    if "enum" in schema or "const" in schema:
        return schema if None in schema.get("enum", [schema.get("const")]) else _or_null(schema)
    if "anyOf" in schema:
        has_null = any(part.get("type") == "null" for part in schema["anyOf"])
        return schema if has_null else {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if "null" in kinds:
        return schema
    return {**schema, "type": [*kinds, "null"]} if kinds and set(kinds) <= set(SCALARS) else _or_null(schema)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
