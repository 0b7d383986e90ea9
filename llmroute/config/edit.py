"""Edits of single values of config.toml with tomlkit, which keeps comments and formatting.

The new text is parsed before it replaces the old one, and has to differ in exactly that value.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from llmroute.config.write import locked, replace
from llmroute.errors import ConfigError
from llmroute.files import LOCK_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from pathlib import Path

    from tomlkit import TOMLDocument

_BARE_NEWLINE: Final = re.compile(r"(?<!\r)\n")

ConfigValue = str | bool | int | float | list[str]


def set_value(path: Path, table: Sequence[str], key: str, value: ConfigValue, *, wait_s: float = LOCK_WAIT_S) -> None:
    """Set `key` in a table (empty for the top level); the table and the file are created if there is none.

    Raises:
        ConfigError: the file cannot be read, or changed without touching something else.
        ConfigWriteError: it cannot be written, or another process keeps it locked for longer than `wait_s` seconds.
    """
    with locked(path, wait_s):
        mark, text = _read(path)
        wanted = _parsed(text, path)
        _table(wanted, table)[key] = value
        with _changing(path, (*table, key)):
            document = tomlkit.parse(text)
            _table(document, table)[key] = value
            _write(path, mark, text, document, wanted)


def remove_key(path: Path, table: Sequence[str], key: str, *, wait_s: float = LOCK_WAIT_S) -> None:
    """Remove `key` from a table; does nothing if it is not set.

    Raises:
        ConfigError, ConfigWriteError: as `set_value`.
    """
    if not path.exists():
        return
    with locked(path, wait_s):
        mark, text = _read(path)
        wanted = _parsed(text, path)
        if _table(wanted, table).pop(key, None) is None:
            return
        with _changing(path, (*table, key)):
            document = tomlkit.parse(text)
            del _table(document, table)[key]
            _write(path, mark, text, document, wanted)


def _read(path: Path) -> tuple[str, str]:
    """Return the byte order mark, if any, and the text after it."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: does not parse: {error}") from error


def _table(document: MutableMapping[str, Any], names: Sequence[str]) -> MutableMapping[str, Any]:
    """Return the table at that path, created if there is none."""
    here = document
    for name in names:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            raise ConfigError(f"{'.'.join(names)} is not a table")
    return here


@contextmanager
def _changing(path: Path, target: tuple[str, ...]) -> Iterator[None]:
    """Raise a ConfigError for an edit that tomlkit cannot make, or that changes another value."""
    try:
        yield
    except (TOMLKitError, ValueError) as error:
        raise ConfigError(
            f"{path}: {'.'.join(target)} cannot be changed without touching something else",
            hint="change it with an editor",
        ) from error


def _write(path: Path, mark: str, old: str, document: TOMLDocument, wanted: dict[str, Any]) -> None:
    """Replace the file.

    Raises:
        ValueError: the document does not say what is wanted.
    """
    text = document.as_string()
    if "\r\n" in old and not _BARE_NEWLINE.search(old):
        # tomlkit ends the lines that it adds by a newline alone.
        text = _BARE_NEWLINE.sub("\r\n", text)
    if tomllib.loads(text) != wanted:
        raise ValueError("tomlkit has changed something else")
    replace(path, (mark + text).encode())
