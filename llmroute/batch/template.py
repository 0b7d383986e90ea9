"""Prompt templates such as 'Translate: {text}', filled from the fields of a line."""

from __future__ import annotations

import json
from string import Formatter
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

HINT = "{name} is replaced by a field of the line, {{ and }} by braces"


class Template:
    """Text with the {names} of fields; format specifications, attributes and expressions are not allowed."""

    def __init__(self, text: str) -> None:
        """Parse a template.

        Raises:
            RequestError: it is invalid, or names no field.
        """
        self._text = text
        try:
            self._parts = list(Formatter().parse(text))
        except ValueError as error:
            raise RequestError(f"the template is invalid: {error}", hint=HINT) from None
        for _, name, specification, conversion in self._parts:
            if name is not None and (specification or conversion or not name.isidentifier()):
                raise RequestError(f"the template has {{{name}}}, which is not the name of a field", hint=HINT)
        if not any(name for _, name, _, _ in self._parts):
            raise RequestError("the template names no field, so every prompt would be the same", hint=HINT)

    def __repr__(self) -> str:
        """Show the text."""
        return f"Template({self._text!r})"

    def fill(self, fields: Mapping[str, Any]) -> str:
        """Return the prompt of a line; values other than text are inserted as JSON.

        Raises:
            RequestError: the line lacks a field.
        """
        return "".join(literal + ("" if name is None else _text(name, fields)) for literal, name, _, _ in self._parts)


def _text(name: str, fields: Mapping[str, Any]) -> str:
    if name not in fields:
        raise RequestError(f"the template uses {{{name}}}, which the line does not have")
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
