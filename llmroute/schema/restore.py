"""An answer in a provider's form as the caller's schema has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llmroute.schema.bounded_validator import matches
from llmroute.schema.subschemas import local_pointer, part_at, pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ValueChange(Protocol):
    """How a value changes at a part of the schema, and which of several results for its alternatives holds."""

    def change(self, node: Mapping[str, Any], value: Any, accepts: Callable[[str, Any], bool], place: str) -> Any:
        """Return the value, changed or not, by the keywords of a part of the schema."""

    def choose(self, value: Any, results: list[tuple[Any, bool]]) -> Any:
        """Return the result that holds, of those that are valid; each says if the alternative names all its keys."""


class Restoration:
    """Applies a change to a value and its parts, guided by a schema; `accepts` says if a value is valid at a place."""

    def __init__(
        self, document: Mapping[str, Any], correction: ValueChange, accepts: Callable[[str, Any], bool]
    ) -> None:
        self._document = document
        self._correction = correction
        self._accepts = accepts
        # By value and place; the value is kept, so that its id is not given away.
        self._done: dict[tuple[int, str], tuple[Any, Any]] = {}

    def at(self, value: Any, place: str = "") -> Any:
        """Return a value at a JSON pointer of the schema, changed; the value itself is not touched."""
        key = (id(value), place)
        if key not in self._done:
            self._done[key] = (value, value)
            self._done[key] = (value, self._changed(value, place))
        return self._done[key][1]

    def _changed(self, value: Any, place: str) -> Any:
        node = self._node(place)
        if not isinstance(node, dict):
            return value
        if (target := local_pointer(node.get("$ref"))) is not None:
            value = self.at(value, target)
        for index in range(len(node.get("allOf", ()))):
            value = self.at(value, f"{place}/allOf/{index}")
        value = self._correction.change(node, value, self._accepts, place)
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                value = self._chosen(value, [f"{place}/{keyword}/{index}" for index in range(len(node[keyword]))])
        if isinstance(value, dict):
            value = {name: self._property(node, place, name, part) for name, part in value.items()}
        elif isinstance(value, list):
            value = [self.at(part, _place_of_item(node, place, index)) for index, part in enumerate(value)]
        if "if" in node:
            return self.at(value, f"{place}/then" if self._accepts(f"{place}/if", value) else f"{place}/else")
        return value

    def _property(self, node: Mapping[str, Any], place: str, name: str, value: Any) -> Any:
        named = name in node.get("properties", {})
        if named:
            value = self.at(value, place + pointer(["properties", name]))
        matching = [pattern for pattern in node.get("patternProperties", {}) if matches(pattern, name)]
        for pattern in matching:
            value = self.at(value, place + pointer(["patternProperties", pattern]))
        return value if named or matching else self.at(value, f"{place}/additionalProperties")

    def _chosen(self, value: Any, places: list[str]) -> Any:
        results = [(self.at(value, place), place) for place in places]
        valid = [(result, self._names_all(place, result)) for result, place in results if self._accepts(place, result)]
        return self._correction.choose(value, valid) if valid else value

    def _names_all(self, place: str, value: Any) -> bool:
        node = self._node(place)
        if isinstance(node, dict) and (target := local_pointer(node.get("$ref"))) is not None:
            node = self._node(target)
        known = node.get("properties", {}) if isinstance(node, dict) else {}
        return not isinstance(value, dict) or known.keys() >= value.keys()

    def _node(self, place: str) -> Any:
        try:
            return part_at(self._document, place)
        except LookupError:
            return None


def _place_of_item(node: Mapping[str, Any], place: str, index: int) -> str:
    """Return where the schema of an item is; `items` may be a list before draft 2020-12."""
    if isinstance(fixed := node.get("items"), list):
        return f"{place}/items/{index}" if index < len(fixed) else f"{place}/additionalItems"
    return f"{place}/prefixItems/{index}" if index < len(node.get("prefixItems", ())) else f"{place}/items"


class DroppedNulls:
    """Drops null where it stands for a property that may be absent, and may not be null."""

    def change(self, node: Mapping[str, Any], value: Any, accepts: Callable[[str, Any], bool], place: str) -> Any:
        """Return an object without the properties that are absent."""
        if not isinstance(value, dict):
            return value
        optional = node.get("properties", {}).keys() - set(node.get("required", ()))
        return {
            name: part
            for name, part in value.items()
            if part is not None or name not in optional or accepts(place + pointer(["properties", name]), None)
        }

    def choose(self, value: Any, results: list[tuple[Any, bool]]) -> Any:  # noqa: ARG002 (the protocol's)
        """Return the first result whose keys the alternative names, as those of a provider's form are."""
        return next((result for result, named in results if named), results[0][0])


class RestoredCase:
    """Restores the capitals of texts that differ from one value of an `enum` or `const` in nothing else."""

    def change(self, node: Mapping[str, Any], value: Any, accepts: Callable[[str, Any], bool], place: str) -> Any:  # noqa: ARG002
        """Return the value that the schema names, where exactly one differs in case only."""
        if not isinstance(value, str):
            return value
        named = node.get("enum", [node["const"]] if "const" in node else ())
        if value in named:
            return value
        alike = [text for text in named if isinstance(text, str) and text.casefold() == value.casefold()]
        return alike[0] if len(alike) == 1 else value

    def choose(self, value: Any, results: list[tuple[Any, bool]]) -> Any:
        """Return the only result, or the value where results differ."""
        found = [result for result, _ in results]
        return found[0] if all(result == found[0] for result in found) else value
