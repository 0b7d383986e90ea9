"""Fill a template such as 'Translate: {text}' with what a line holds."""

from __future__ import annotations

import json
from string import Formatter
from typing import TYPE_CHECKING, Any

from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

HINT = "write {name} for what the line holds under that name, {{ and }} for braces"


class Template:
    """Text with {names}: no formats, no attributes, nothing that is evaluated."""

    def __init__(self, text: str) -> None:
        """Read a template.

        Raises:
            RequestError: it is none, or names nothing.
        """
        try:
            self._parts = list(Formatter().parse(text))
        except ValueError as error:
            raise RequestError(f"the template does not parse: {error}", hint=HINT) from None
        for _, name, form, conversion in self._parts:
            if name is not None and (form or conversion or not name.isidentifier()):
                raise RequestError(f"the template holds {{{name}}}, which is not a name", hint=HINT)
        if not any(name for _, name, _, _ in self._parts):
            raise RequestError(
                "the template names nothing of a line, so that every prompt would be the same", hint=HINT
            )

    def fill(self, fields: Mapping[str, Any]) -> str:
        """Return the prompt for a line; what is not text is put as JSON.

        Raises:
            RequestError: the line has no such field.
        """
        return "".join(
            part
            for literal, name, _, _ in self._parts
            for part in (literal, "" if name is None else _text(name, fields))
        )


def _text(name: str, fields: Mapping[str, Any]) -> str:
    if name not in fields:
        raise RequestError(f"the template wants {{{name}}}, which the line does not have")
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
