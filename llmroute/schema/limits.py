"""How large and how deep the schemas may be that vendors compile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.schema.subschemas import children, resolve, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

OPENAI_PROPERTIES, OPENAI_LEVELS, OPENAI_NAME_CHARACTERS = 5_000, 10, 120_000
OPENAI_ENUM_VALUES, OPENAI_LARGE_ENUM, OPENAI_LARGE_ENUM_CHARACTERS = 1_000, 250, 15_000
ANTHROPIC_OPTIONAL, ANTHROPIC_UNIONS = 24, 16


def fits_openai(schema: Mapping[str, Any] | None) -> bool:
    """Whether OpenAI takes a schema with `strict`."""
    nodes = list(walk(schema))
    names = [name for node in nodes for name in (*node.get("properties", {}), *node.get("$defs", {}))]
    enums = [_texts(node) for node in nodes]
    characters = sum(map(len, names)) + sum(len(text) for texts in enums for text in texts)
    return (
        sum(len(node.get("properties", {})) for node in nodes) <= OPENAI_PROPERTIES
        and characters <= OPENAI_NAME_CHARACTERS
        and sum(len(node.get("enum", ())) for node in nodes) <= OPENAI_ENUM_VALUES
        and all(
            len(texts) <= OPENAI_LARGE_ENUM or sum(map(len, texts)) <= OPENAI_LARGE_ENUM_CHARACTERS for texts in enums
        )
        and _Levels(schema).of(schema) <= OPENAI_LEVELS
    )


def fits_anthropic(schema: Mapping[str, Any] | None) -> bool:
    """Whether Anthropic compiles a schema: so many optional properties and unions of types at most."""
    nodes = list(walk(schema))
    optional = sum(len(node.get("properties", {}).keys() - set(node.get("required", ()))) for node in nodes)
    unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
    return optional <= ANTHROPIC_OPTIONAL and unions <= ANTHROPIC_UNIONS


def _texts(node: dict[str, Any]) -> list[str]:
    return [str(value) for value in (*node.get("enum", ()), *([node["const"]] if "const" in node else ()))]


class _Levels:
    """Counts how deep objects and arrays are nested; a reference to what is around it adds none."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._of_target: dict[str, int] = {}

    def of(self, node: Any) -> int:
        if not isinstance(node, dict):
            return 0
        if "$ref" in node:
            return self._of_reference(node["$ref"])
        parts = (part for path, part in children(node) if path[0] != "$defs")
        return (node.get("type") in ("object", "array")) + max(map(self.of, parts), default=0)

    def _of_reference(self, target: str) -> int:
        if target not in self._of_target:
            self._of_target[target] = 0
            self._of_target[target] = self.of(resolve(self._document, target))
        return self._of_target[target]
