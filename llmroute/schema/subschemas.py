"""The subschemas of a JSON Schema, and its references within itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ONE = (
    *("items", "additionalProperties", "additionalItems", "unevaluatedItems", "unevaluatedProperties", "contains"),
    *("propertyNames", "not", "if", "then", "else", "contentSchema"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPPINGS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
"""Keywords whose subschemas apply to the same value."""
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def children(schema: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the direct subschemas of a schema, each with its path: the keyword, and the key or index in it."""
    if not isinstance(schema, dict):
        return
    for keyword in _ONE:
        if isinstance(schema.get(keyword), dict | bool):
            yield (keyword,), schema[keyword]
    for keyword in _LISTS:
        if isinstance(schema.get(keyword), list):
            yield from (((keyword, str(index)), part) for index, part in enumerate(schema[keyword]))
    for keyword in _MAPPINGS:
        if isinstance(schema.get(keyword), dict):
            # A list under `dependencies` names properties.
            yield from (
                ((keyword, key), part) for key, part in schema[keyword].items() if isinstance(part, dict | bool)
            )


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all its subschemas that are objects."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(part for _, part in children(node))


def rewritten(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy of a schema in which `change` has been applied to each subschema, the outer ones last."""
    if not isinstance(schema, dict):
        return schema
    copy = {key: _shallow(value) for key, value in schema.items()}
    for path, part in children(schema):
        keyword, *inner = path
        new = rewritten(part, change)
        if not inner:
            copy[keyword] = new
        elif isinstance(copy[keyword], list):
            copy[keyword][int(inner[0])] = new
        else:
            copy[keyword][inner[0]] = new
    return change(copy)


def _shallow(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


def pointer(parts: tuple[str | int, ...] | list[str | int]) -> str:
    """Return a JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def local_pointer(reference: object) -> str | None:
    """Return the JSON pointer of a reference like `#/$defs/name`, None of one that is no such reference."""
    from urllib.parse import unquote

    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        return unquote(reference[1:])
    return None


def part_at(document: Any, place: str) -> Any:
    """Return the part of a schema at a JSON pointer.

    Raises:
        LookupError: there is none.
    """
    node = document
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            raise LookupError(place)
    return node


def resolve(document: Any, reference: object) -> Any:
    """Return the part of a schema that a reference within it refers to.

    Raises:
        LookupError: it refers to nothing, or not by a JSON pointer.
    """
    place = local_pointer(reference)
    if place is None:
        raise LookupError(reference)
    return part_at(document, place)


def moved(document: Any, place: str, own_name: object = None) -> Any:
    """Return a copy of a schema whose references within itself hold when it stands at `place`, as `#/$defs/root`.

    `own_name` is its `$id`, by which it may refer to itself.
    """

    def change(node: dict[str, Any]) -> dict[str, Any]:
        # Without an outer anchor of that kind, the root is what `$recursiveRef` refers to.
        if node.get("$recursiveRef") == "#" and "$ref" not in node:
            node["$ref"] = node.pop("$recursiveRef")
        reference = node.get("$ref")
        if isinstance(own_name, str) and isinstance(reference, str) and own_name:
            base = own_name.rstrip("#")
            if reference == base or reference.startswith(f"{base}#"):
                reference = "#" + reference[len(base) + 1 :]
                node["$ref"] = reference
        if local_pointer(reference) is not None:
            node["$ref"] = f"{place}{node['$ref'][1:]}"
        return node

    return rewritten(document, change)
