"""Whether a document is a JSON Schema that answers can be checked against."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError
from llmroute.schema.bounded_validator import bounded, compiled
from llmroute.schema.formats import format_checker
from llmroute.schema.subschemas import IN_PLACE, REFERENCES, children, pointer, walk
from llmroute.text.redaction import one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema.protocols import Validator

    from llmroute.types.answer_schema import AnswerSchema

MOST_SHOWN = 200
MOST_PATHS = 20_000
_ADDRESS = "urn:llmroute:answer"


def check_schema(document: Mapping[str, Any]) -> None:
    """Check a JSON Schema by the rules of its own draft, 2020-12 unless `$schema` names another.

    Raises:
        RequestError: it is invalid, or refers to something outside itself, which is never fetched.
    """
    _check_draft(document)
    try:
        checked = _check_part(document, document, "")
        _check_references(document, checked)
    except RecursionError:
        raise invalid("it is nested too deeply") from None


def _check_part(document: Mapping[str, Any], part: Any, place: str) -> set[int]:
    """Check a part of a schema by the rules of the draft of `document`; return the ids of its subschemas."""
    from jsonschema.exceptions import best_match

    kind = _validator_class(document)
    error = best_match(kind(kind.META_SCHEMA).iter_errors(part))
    if error is not None:
        raise invalid(f"{_place(place, error.absolute_path)}{error.message}")
    checked = set()
    for node in walk(part):
        checked.add(id(node))
        _check_patterns(node)
    return checked


@lru_cache(maxsize=1024)
def validator_of(schema: AnswerSchema, place: str = "") -> Validator:
    """Return the validator of a valid schema, or of the part of it at a JSON pointer; formats are checked too."""
    from urllib.parse import quote

    from referencing import Registry
    from referencing.jsonschema import DRAFT202012, specification_with

    draft = _validator_class(schema.document)
    kind, checker = bounded(draft), format_checker(draft)
    # Where a schema names its draft, jsonschema would take its own class for every reference to the root.
    document = {key: value for key, value in schema.document.items() if key != "$schema"}
    if not place:
        return kind(document, registry=Registry(), format_checker=checker)
    named = schema.document.get("$schema")
    specification = specification_with(named, default=DRAFT202012) if named else DRAFT202012
    document = {key: value for key, value in document.items() if key not in ("$id", "id")}
    registry: Any = Registry().with_resource(_ADDRESS, specification.create_resource(document))
    return kind({"$ref": f"{_ADDRESS}#{quote(place)}"}, registry=registry, format_checker=checker)


def invalid(reason: str, *, hint: str | None = None) -> RequestError:
    """Return the error of a schema that is none."""
    short = shortened(one_line(reason[: 10 * MOST_SHOWN]), MOST_SHOWN)
    return RequestError(f"schema: not a valid JSON Schema: {short}", hint=hint, option="schema")


def _validator_class(document: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return validator_for(dict(document), default=Draft202012Validator)


def _check_draft(document: Mapping[str, Any]) -> None:
    if "$schema" not in document:
        return
    from referencing.jsonschema import UnknownDialect, specification_with

    named = document["$schema"]
    if not isinstance(named, str):
        raise invalid("/$schema: the name of the draft is not text")
    try:
        specification_with(named)
    except UnknownDialect:
        raise invalid(
            f"/$schema: unknown draft {named}",
            hint="leave $schema out for https://json-schema.org/draft/2020-12/schema",
        ) from None


def _check_patterns(node: Mapping[str, Any]) -> None:
    patterns = [node["pattern"]] if "pattern" in node else []
    for pattern in (*patterns, *(node.get("patternProperties") or ())):
        try:
            compiled(pattern)
        except (ValueError, TypeError) as error:
            raise invalid(f"the pattern {pattern!r} cannot be checked: {error}") from None


def _check_references(document: Mapping[str, Any], checked: set[int]) -> None:
    """Reject references out of the schema, to nothing, to what is no schema, and in a circle that no value ends.

    `checked` are the ids of the subschemas that are valid; targets that are none of them are checked here.
    """
    from referencing import Registry, Specification
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    named = document.get("$schema")
    specification: Specification[Any] = specification_with(named, default=DRAFT202012) if named else DRAFT202012
    registry: Any = Registry()
    resolver = registry.resolver_with_root(specification.create_resource(dict(document)))
    waiting: list[tuple[Any, Any, frozenset[int]]] = [(document, resolver, frozenset())]
    seen: set[tuple[int, frozenset[int]]] = set()
    while waiting:
        node, resolver, above = waiting.pop()
        if not isinstance(node, dict) or (id(node), above) in seen:
            continue
        if len(seen) > MOST_PATHS:
            raise invalid("it has too many references in parts that apply to one value")
        if id(node) in above:
            raise invalid("a reference refers to itself, so that checking a value would not end")
        seen.add((id(node), above))
        above = above | {id(node)}
        for keyword in REFERENCES:
            target = node.get(keyword)
            if isinstance(target, str):
                try:
                    found = resolver.lookup(target)
                except (Unresolvable, ValueError, AttributeError, KeyError, TypeError):
                    raise _unresolvable(keyword, target) from None
                if id(found.contents) not in checked:
                    checked |= _check_part(document, found.contents, target) | {id(found.contents)}
                waiting.append((found.contents, found.resolver, above))
        for path, part in children(node):
            inner = resolver
            if isinstance(part, dict):
                inner = resolver.in_subresource(specification.create_resource(part))
            waiting.append((part, inner, above if path[0] in IN_PLACE else frozenset()))


def _unresolvable(keyword: str, target: str) -> RequestError:
    if target.startswith("#"):
        return invalid(f"{keyword} {target} refers to nothing in it")
    return invalid(f"{keyword} {target} is outside of it, and is not fetched", hint="copy what it refers to into $defs")


def _place(place: str, path: Any) -> str:
    found = place + pointer(list(path))
    return f"{found}: " if found else ""
