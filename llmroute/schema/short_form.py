"""The short form of a schema: `name, age int, bio: one sentence`."""

from __future__ import annotations

from typing import Any

from llmroute.errors import RequestError
from llmroute.text.redaction import one_line
from llmroute.text.suggest import nearest

TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_LONG_NAMES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "text": "str",
}
MOST_SHOWN = 60


def is_short_form(text: str) -> bool:
    """Whether a text can be a short form rather than the name of a file: it has a space, a comma, a colon or lines."""
    return any(mark in text.strip() for mark in " ,:\n\t")


def schema_of_short_form(text: str) -> dict[str, Any]:
    """Return the schema of a short form: an object whose fields are all required, in order.

    Fields are separated by commas, or by line ends where there is one; each is `NAME [TYPE] [: DESCRIPTION]`.

    Raises:
        RequestError: there is no field, or a field has no name, a repeated name or an unknown type.
    """
    lines = text.split("\n") if "\n" in text.strip() else text.split(",")
    properties: dict[str, dict[str, str]] = {}
    for line in lines:
        if not line.strip():
            continue
        head, _, description = line.partition(":")
        name, kind = _name_and_type(head.split(), line)
        if name in properties:
            raise _invalid(f"the field {_shown(name)} is repeated")
        properties[name] = {"type": kind}
        if description.strip():
            properties[name]["description"] = description.strip()
    if not properties:
        raise _invalid("it has no fields", hint="write it like `name, age int, bio: one sentence`")
    return {"type": "object", "properties": properties, "required": list(properties)}


def _name_and_type(words: list[str], line: str) -> tuple[str, str]:
    if not words:
        raise _invalid(f"a field has no name: {_shown(line.strip())}")
    if words[0].startswith(("{", "[")):
        raise _invalid(f"{_shown(words[0])} cannot be the name of a field", hint="JSON text begins with {")
    if len(words) == 1:
        return words[0], TYPES["str"]
    name, word, *rest = words
    if word not in TYPES:
        near = _LONG_NAMES.get(word.lower()) or nearest(word.lower(), TYPES)
        raise _invalid(
            f"the field {_shown(name)} has the unknown type {_shown(word)}: use one of {', '.join(TYPES)}",
            hint=f"did you mean {near}?" if near else "a description follows a colon: `name str: the full name`",
        )
    if rest:
        raise _invalid(
            f"the field {_shown(name)} has words after its type: {_shown(' '.join(rest))}",
            hint="a description follows a colon: `name str: the full name`",
        )
    return name, TYPES[word]


def _shown(text: str) -> str:
    plain = one_line(text)
    return repr(plain if len(plain) <= MOST_SHOWN else f"{plain[:MOST_SHOWN]}…")


def _invalid(reason: str, *, hint: str | None = None) -> RequestError:
    return RequestError(f"schema: not a valid short form: {reason}", hint=hint, option="schema")
