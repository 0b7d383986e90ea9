"""A schema in the subset of JSON Schema that a provider supports.

Unsupported constraints are removed and stated in descriptions, because the answer is checked against the caller's
schema afterwards; objects are closed, as all providers require.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from llmroute.schema.subschemas import resolve
from llmroute.schema.value_types import SCALARS, concerns, nullable, types_of

_STRUCTURE = ("properties", "items", "prefixItems", "enum", "const", "additionalProperties", "patternProperties")
_STATED = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("format", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "minProperties"),
    *("maxProperties", "propertyNames", "dependentRequired", "dependentSchemas", "dependencies", "not", "if", "then"),
    *("else", "anyOf", "oneOf", "default", "examples", "contentEncoding", "contentMediaType"),
)
"""Keywords that are stated in the description where the provider does not support them."""
MOST_INLINE_CHARACTERS = 200
"""The length of the longest definition that is copied to where it is referred to."""
NO_LOOKAROUND = re.compile(r"\(\?[=!<]")
SIMPLE = re.compile(r"\(\?|\\[bB1-9]")


class InexpressibleError(Exception):
    """A schema has no form that the provider takes."""


class Subset(NamedTuple):
    """The part of JSON Schema that a provider takes.

    `keywords` are kept as they are where their values are of the usual kind, `item_counts` are the values of `minItems`
    that are taken, None for all.  `no_pattern` finds what a regular expression must not have.  With `all_required`, a
    property that may be absent may be null instead.
    """

    keywords: frozenset[str]
    formats: frozenset[str]
    no_pattern: re.Pattern[str]
    all_required: bool
    recursive: bool
    item_counts: tuple[int, ...] | None = None


class Derivation:
    """Derives the form of one schema; `definitions` are those that the form refers to, by name."""

    def __init__(self, document: Any, subset: Subset) -> None:
        self._document = document
        self._subset = subset
        self._names: dict[str, str] = {}
        self.definitions: dict[str, dict[str, Any]] = {}

    def form(self) -> dict[str, Any]:
        """Return the form of the schema, without its definitions.

        Raises:
            InexpressibleError: the provider takes none.
        """
        derived = self._derived(self._document)
        if "$ref" in derived:
            derived = dict(self.definitions[derived["$ref"].rpartition("/")[2]])
        return derived

    def _derived(self, node: Any) -> dict[str, Any]:
        if not isinstance(node, dict) or ("$id" in node and node is not self._document):
            raise InexpressibleError
        if "$ref" in node:
            return self._reference(node)
        if "allOf" in node:
            return self._derived(self._merged(node))
        structured = any(keyword in node for keyword in _STRUCTURE)
        branches = next((key for key in ("anyOf", "oneOf") if key in node), None)
        if branches and not structured:
            shared = {"type": node["type"]} if "type" in node else {}
            parts = [
                shared | part if isinstance(part, dict) and "$ref" not in part else part for part in node[branches]
            ]
            return self._constrained(node, {"anyOf": [self._derived(part) for part in parts]}, but=branches)
        types = types_of(node)
        if len(types) > 1 and not set(types) <= set(SCALARS):
            return {"anyOf": [self._derived({**node, "type": kind}) for kind in types]}
        if types == ["object"]:
            return self._constrained(node, self._object(node))
        if types == ["array"]:
            return self._constrained(node, self._array(node))
        return self._constrained(node, _scalar(node, types))

    def _reference(self, node: dict[str, Any]) -> dict[str, Any]:
        target = node["$ref"]
        try:
            found = resolve(self._document, target)
        except LookupError:
            raise InexpressibleError from None
        if target in self._names:
            name = self._names[target]
            if name not in self.definitions and not self._subset.recursive:
                raise InexpressibleError
        else:
            name = self._names[target] = self._free_name(target)
            self.definitions[name] = self._derived(found)
        described = {key: value for key, value in node.items() if key in ("description", *_STATED)}
        if described and name in self.definitions and "$ref" not in self.definitions[name]:
            return self._with_siblings(target, name, described)
        return {"$ref": f"#/$defs/{name}"}

    def _with_siblings(self, target: str, name: str, described: dict[str, Any]) -> dict[str, Any]:
        """Return a reference that has constraints beside it, which no provider takes.

        A short definition stands in its place; others get one more definition for each set of constraints, because
        copies of copies would grow exponentially with the depth of the schema.
        """
        own = self._constrained(described, self.definitions[name])
        if len(json.dumps(own)) <= MOST_INLINE_CHARACTERS:
            return own
        key = f"{target} {json.dumps(described, sort_keys=True)}"
        if key not in self._names:
            self._names[key] = self._free_name(target)
            self.definitions[self._names[key]] = own
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _free_name(self, target: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", target.rpartition("/")[2]).strip("_") or "root"
        taken = set(self._names.values())
        return next(
            name for count in range(len(taken) + 1) if (name := f"{plain}_{count}" if count else plain) not in taken
        )

    def _merged(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with the parts of its `allOf` in it, where none contradicts another."""
        merged = {key: value for key, value in node.items() if key != "allOf"}
        for given in node["allOf"]:
            part = given
            if isinstance(part, dict) and "$ref" in part:
                try:
                    part = resolve(self._document, part["$ref"])
                except LookupError:
                    raise InexpressibleError from None
            if not isinstance(part, dict) or "$ref" in part or "allOf" in part:
                raise InexpressibleError
            for key, value in part.items():
                if key == "properties" and not merged.get(key, {}).keys() & value.keys():
                    merged[key] = merged.get(key, {}) | value
                elif key == "required":
                    merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
                elif key in ("description", "title", "$defs", "definitions", "$comment"):
                    merged.setdefault(key, value)
                elif merged.setdefault(key, value) != value:
                    raise InexpressibleError
        return merged

    def _object(self, node: dict[str, Any]) -> dict[str, Any]:
        properties, required = node.get("properties") or {}, node.get("required") or []
        extra = node.get("additionalProperties", True)
        open_only = not properties and extra is not False
        # A map, whose keys the model chooses, is what no provider's form has.
        if open_only or extra not in (True, False, {}) or node.get("patternProperties"):
            raise InexpressibleError
        if not isinstance(required, list) or not properties.keys() >= set(required):
            raise InexpressibleError
        derived = {name: self._derived(part) for name, part in properties.items()}
        if self._subset.all_required:
            derived = {name: part if name in required else nullable(part) for name, part in derived.items()}
            required = list(derived)
        return {"type": "object", "properties": derived, "required": required, "additionalProperties": False}

    def _array(self, node: dict[str, Any]) -> dict[str, Any]:
        if node.get("prefixItems") or not isinstance(node.get("items"), dict):
            raise InexpressibleError
        return {"type": "array", "items": self._derived(node["items"])}

    def _constrained(self, node: dict[str, Any], derived: dict[str, Any], *, but: str | None = None) -> dict[str, Any]:
        """Return a schema with the constraints that the provider supports, and the others in its description."""
        result = dict(derived)
        stated = []
        for key in _STATED:
            if key not in node or key == but or not concerns(key, derived):
                continue
            if self._takes(key, node[key]):
                result[key] = node[key]
            else:
                stated.append(f"{key}: {json.dumps(node[key], ensure_ascii=False)}")
        parts = [node.get("description") or derived.get("description"), f"{{{', '.join(stated)}}}" if stated else None]
        if described := " ".join(part for part in parts if isinstance(part, str)):
            result["description"] = described
        return result

    def _takes(self, key: str, value: Any) -> bool:
        if key not in self._subset.keywords:
            return False
        if key == "pattern":
            return not self._subset.no_pattern.search(value)
        if key == "format":
            return value in self._subset.formats
        if key == "minItems":
            return self._subset.item_counts is None or value in self._subset.item_counts
        # Draft 4 has booleans here.
        return not isinstance(value, bool)


def _scalar(node: dict[str, Any], types: list[str]) -> dict[str, Any]:
    if not types or not set(types) <= set(SCALARS):
        raise InexpressibleError
    derived: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    for key in ("enum", "const"):
        if key in node:
            values = node[key] if key == "enum" else [node[key]]
            if any(isinstance(value, dict | list) for value in values):
                raise InexpressibleError
            derived[key] = node[key]
    return derived
