"""Replace config.toml whole, one process at a time."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from llmroute.errors import ConfigWriteError
from llmroute.private_files import is_at, locked, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S: Final = 10.0


@contextmanager
def alone(path: Path, wait_s: float) -> Iterator[None]:
    """Lock a file from its reading to its replacement; it is made, empty, where there is none.

    Raises:
        ConfigWriteError: it cannot be opened, or another process holds the lock for longer than `wait_s` seconds.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _held(path, time.monotonic() + wait_s)
    except OSError as error:
        raise ConfigWriteError(f"{path}: cannot be written: {error.strerror}") from error
    if fd is None:
        raise ConfigWriteError(
            f"{path}: another process has held its lock for {wait_s:g} s",
            hint="try again when that process is done, or end it if it is stopped",
        )
    try:
        yield
    finally:
        os.close(fd)


def _held(path: Path, until_s: float) -> int | None:
    """Return a descriptor that holds the lock, None where the time is over.

    A file that was replaced while its lock was waited for is another file: the one of that name is locked.
    """
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            if locked(fd, until_s - time.monotonic()) and is_at(fd, path):
                held, fd = fd, -1
                return held
            if time.monotonic() >= until_s:
                return None
        finally:
            if fd >= 0:
                os.close(fd)


def replace(path: Path, data: bytes) -> None:
    """Put a file with these bytes in the place of another, with its mode; a link to a file elsewhere stays one.

    Raises:
        ConfigWriteError: it cannot be written; the old one is as it was.
    """
    path = path.resolve()
    try:
        with replacing(path) as fd, open(fd, "wb", closefd=False) as file:
            file.write(data)
    except OSError as error:
        raise ConfigWriteError(f"{path}: cannot be written: {error.strerror}") from error
