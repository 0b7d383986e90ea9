"""On which line of config.toml each setting is."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KeyPath = tuple[str, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line number, from 1, on which each key of a valid document is set, by its path.

    A key in an inline table has the line on which the table begins.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            (table,) = _tables(parsed)
        else:
            lines.update({table + path: number for path in _keys(parsed)})
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield table headers and assignments, which may have several lines, each with the number of its first line."""
    begin, statement = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        begin = begin if statement else number
        statement += line + "\n"
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield begin, statement
        statement = ""


def _tables(parsed: dict[str, Any]) -> Iterator[KeyPath]:
    """Yield the path of the empty table that a header makes."""
    for key, value in parsed.items():
        found = [*_tables(value[0] if isinstance(value, list) else value)]
        yield from ((key, *rest) for rest in found or [()])


def _keys(parsed: dict[str, Any]) -> Iterator[KeyPath]:
    for key, value in parsed.items():
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in _keys(value))
        else:
            yield (key,)
