"""Reads .env files, and checks that configuration files are regular files of limited size."""

from __future__ import annotations

import codecs
import io
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dotenv.parser import Binding

MAX_BYTES: Final = 1024 * 1024
_FOREIGN_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_DEVICES: Final = ("/dev/", "/proc/")
_MAX_LINKS: Final = 40


def check(path: Path) -> None:
    """Check that a path, if it exists, is a regular file or a directory.

    Raises:
        ConfigError: it is a device, a pipe or a link to one, or larger than 1 MiB.
    """
    try:
        found = path.stat()
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode) or _leads_to_device(path):
        raise ConfigError(f"{path}: is not a regular file", hint="remove it, or put a file there")
    if found.st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB, the limit of configuration files")


def _leads_to_device(path: Path) -> bool:
    """Whether a chain of links passes a device: /dev/stdin is a regular file if one is redirected into it."""
    for _ in range(_MAX_LINKS):
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
        if str(path).startswith(_DEVICES):
            return True
    return False


class EnvFile(NamedTuple):
    """The variables of a .env file with the lines on which they are set, and the lines that do not parse, from 1."""

    values: Mapping[str, str | None]
    unread_lines: tuple[int, ...] = ()
    lines: Mapping[str, int] = {}


def read_env(path: Path) -> EnvFile:
    """Read a .env file; empty when it does not exist.  Invalid UTF-8 in single values is replaced.

    Raises:
        ConfigError: it cannot be read, or is UTF-16 or UTF-32.
    """
    check(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return EnvFile({})
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if data.startswith(_FOREIGN_BOMS):
        raise ConfigError(f"{path}: is not UTF-8 but starts with another byte order mark", hint="save it as UTF-8")
    from dotenv.parser import parse_stream

    text = data.decode("utf-8-sig", "replace")
    bindings = list(parse_stream(io.StringIO(text)))
    named = [(binding.key, binding) for binding in bindings if binding.key is not None]
    unread = tuple(_line(binding) for binding in bindings if binding.error)
    return EnvFile({key: one.value for key, one in named}, unread, {key: _line(one) for key, one in named})


def _line(binding: Binding) -> int:
    """Return the number of a line; blank lines before it belong to the original text of its binding."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
