"""What may be read as a file of settings: a regular file, and none without end."""

from __future__ import annotations

import codecs
import io
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_BYTES: Final = 1024 * 1024
_MARKS_OF_OTHERS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_DEVICES: Final = ("/dev/", "/proc/")
_MOST_LINKS: Final = 40


def check(path: Path) -> None:
    """Let a file pass that can be read to its end; a folder, and where there is none, are left to the reader.

    Raises:
        ConfigError: it is a device, a pipe or a link to one, or larger than a megabyte.
    """
    try:
        found = path.stat()
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode) or _leads_to_device(path):
        raise ConfigError(f"{path}: is not a regular file", hint="remove it, or put a file there")
    if found.st_size > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES // 2**20} MiB, which no file of settings is")


def _leads_to_device(path: Path) -> bool:
    """Whether a link leads past a device: /dev/stdin is a regular file where one is redirected into it."""
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
        if str(path).startswith(_DEVICES):
            return True
    return False


class EnvFile(NamedTuple):
    """What a .env file sets, and the numbers of the lines that are no settings."""

    values: Mapping[str, str | None]
    unread_lines: tuple[int, ...] = ()


def read_env(path: Path) -> EnvFile:
    """Read a .env file; empty when there is none.  What is not UTF-8 in it is another program's affair.

    Raises:
        ConfigError: it cannot be read to its end, or is in another encoding as a whole.
    """
    check(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return EnvFile({})
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if data.startswith(_MARKS_OF_OTHERS):
        raise ConfigError(f"{path}: is not UTF-8, as the mark at its beginning says", hint="save it as UTF-8")
    from dotenv.parser import parse_stream

    text = data.decode("utf-8-sig", "replace")
    bindings = list(parse_stream(io.StringIO(text)))
    values = {binding.key: binding.value for binding in bindings if binding.key is not None}
    return EnvFile(values, tuple(binding.original.line for binding in bindings if binding.error))
