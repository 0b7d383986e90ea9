"""Change one value of config.toml and leave every other byte as its owner wrote it.

The new text is parsed before it replaces the old: it says exactly what was meant, or nothing is changed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmroute.config_write import alone, replace
from llmroute.errors import ConfigError
from llmroute.files import LOCK_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Value = str | bool | int | float | list[str]
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class _Statement:
    """A header, or a key with its value: the lines it is on, the table it stands in, and its full path."""

    first: int
    end: int
    table: tuple[str, ...]
    path: tuple[str, ...]
    header: bool


def set_value(path: Path, table: Sequence[str], key: str, value: Value, *, wait_s: float = LOCK_WAIT_S) -> None:
    """Set `key` in a table (empty for the top), making the table, and the file, where there is none.

    Raises:
        ConfigError: the file cannot be read, or changed without touching something else.
        ConfigWriteError: it cannot be written, or another process keeps it locked for longer than `wait_s` seconds.
    """
    with alone(path, wait_s):
        mark, text = _read(path)
        target = (*table, key)
        wanted = _with(_document(text, path), target, value)
        statements = _statements(text)
        lines = _lines(text)
        own = [one for one in statements if not one.header and one.path == target]
        if own:
            _replace_value(lines, own[0], target, value)
        else:
            _insert(lines, statements, tuple(table), key, value)
        _write(path, mark, "".join(lines), wanted, target)


def remove_key(path: Path, table: Sequence[str], key: str, *, wait_s: float = LOCK_WAIT_S) -> None:
    """Remove `key` from a table; does nothing where it is not set.

    Raises:
        ConfigError, ConfigWriteError: as `set_value`.
    """
    if not path.exists():
        return
    with alone(path, wait_s):
        mark, text = _read(path)
        target = (*table, key)
        own = [one for one in _statements(text) if not one.header and one.path == target]
        if not own:
            return
        wanted = _without(_document(text, path), target)
        lines = _lines(text)
        del lines[own[0].first : own[0].end]
        _write(path, mark, "".join(lines), wanted, target)


def _read(path: Path) -> tuple[str, str]:
    """Return the byte order mark, where there is one, and the text after it."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)


def _document(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: does not parse: {error}") from error


def _statements(text: str) -> list[_Statement]:
    """Cut a document that parses into statements: each begins where all that is before it parses by itself."""
    lines = _lines(text)
    found: list[_Statement] = []
    table: tuple[str, ...] = ()
    first = 0
    for end in range(1, len(lines) + 1):
        chunk = "".join(lines[first:end])
        told = _parsed(chunk)
        if told is None:
            continue
        if told:
            header = chunk.lstrip().startswith("[")
            names = _names(told, header=header)
            table = names if header else table
            found.append(_Statement(first, end, table, names if header else table + names, header))
        first = end
    return found


def _lines(text: str) -> list[str]:
    """Cut at newlines only: TOML knows no other end of a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _parsed(chunk: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(chunk)
    except tomllib.TOMLDecodeError:
        return None


def _names(told: dict[str, Any], *, header: bool) -> tuple[str, ...]:
    """Return the path that one statement sets.  A table in braces is a value, and its path ends before it."""
    names: list[str] = []
    here: Any = told
    while isinstance(here, dict) and len(here) == 1:
        ((name, here),) = here.items()
        names.append(name)
        if header and isinstance(here, list):
            # An array of tables is none of ours, and nothing is inserted into one.
            return (*names, "[]")
    return tuple(names)


def _with(document: dict[str, Any], target: tuple[str, ...], value: Value) -> dict[str, Any]:
    here = document
    for name in target[:-1]:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            raise ConfigError(f"{'.'.join(target[:-1])} is not a table")
    here[target[-1]] = value
    return document


def _without(document: dict[str, Any], target: tuple[str, ...]) -> dict[str, Any]:
    here = document
    for name in target[:-1]:
        here = here[name]
    del here[target[-1]]
    return document


def _replace_value(lines: list[str], own: _Statement, target: tuple[str, ...], value: Value) -> None:
    """Put a new value between what is left of the old one and the comment right of it."""
    chunk = "".join(lines[own.first : own.end])
    key = target[len(own.table) :]
    old = _at(_parsed(chunk), key)
    signs = (chunk[: i + 1] for i, c in enumerate(chunk) if c == "=")
    left = next((sign for sign in signs if _at(_parsed(f"{sign} 0"), key) == 0), None)
    if left is None:
        raise ConfigError(f"{'.'.join(target)} is set inside braces", hint="change it with an editor")
    rest = chunk[len(left) :]
    ends = (i for i, c in enumerate(rest) if c in "#\r\n" and _at(_parsed(left + rest[:i]), key) == old)
    told = rest[: next(ends, len(rest))]
    blank = told[: len(told) - len(told.lstrip())]
    tail = told[len(told.rstrip()) :]
    lines[own.first : own.end] = [left + blank + _toml(value) + tail + rest[len(told) :]]


def _at(told: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(told, dict) or name not in told:
            return None
        told = told[name]
    return told


def _insert(lines: list[str], statements: list[_Statement], table: tuple[str, ...], key: str, value: Value) -> None:
    """Add a key after the last one of its table, else under its header, else under a new header at the end."""
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    beside = [one for one in statements if not one.header and one.path[:-1] == table]
    headers = [one for one in statements if one.header and one.path == table]
    if beside or headers:
        after = (beside or headers)[-1]
        name = (*table, key)[len(after.table) :]
        where = after.end
    elif not table:
        name, where = (key,), 0
    else:
        name, where = (key,), len(lines)
    if where and not lines[where - 1].endswith("\n"):
        lines[where - 1] += newline
    new = f"{_dotted(name)} = {_toml(value)}{newline}"
    if table and not (beside or headers):
        new = f"{newline if lines else ''}[{_dotted(table)}]{newline}{new}"
    lines.insert(where, new)


def _dotted(names: Sequence[str]) -> str:
    return ".".join(name if _BARE.fullmatch(name) else _toml(name) for name in names)


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def _write(path: Path, mark: str, text: str, wanted: dict[str, Any], target: tuple[str, ...]) -> None:
    if _parsed(text) != wanted:
        raise ConfigError(
            f"{path}: {'.'.join(target)} cannot be changed without touching something else",
            hint="change it with an editor",
        )
    replace(path, (mark + text).encode())
