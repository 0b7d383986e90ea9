"""What may be read as a file of settings: a regular file, and none without end."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from llmroute.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 1024 * 1024
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
