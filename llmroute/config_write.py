"""Replace config.toml whole, one process at a time."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from llmroute.errors import ConfigWriteError
from llmroute.private_files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S: Final = 10.0
_POLL_S: Final = 0.02


@contextmanager
def alone(path: Path, wait_s: float) -> Iterator[None]:
    """Lock a file from its reading to its replacement; it is made, empty, where there is none.

    Windows has no such lock, and replaces no file that is open.

    Raises:
        ConfigWriteError: it cannot be opened, or another process holds the lock for longer than `wait_s` seconds.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _locked(path, time.monotonic() + wait_s)
    except OSError as error:
        raise ConfigWriteError(f"{path}: cannot be written: {error.strerror}") from error
    if fd is None:
        raise ConfigWriteError(
            f"{path}: another process has held its lock for {wait_s:g} s",
            hint="try again when that process is done, or end it if it is stopped",
        )
    if sys.platform == "win32":
        os.close(fd)
        yield
        return
    try:
        yield
    finally:
        os.close(fd)


def _locked(path: Path, until_s: float) -> int | None:
    """Return a descriptor that holds the lock, None where the time is over.

    A file that was replaced while its lock was waited for is another file: the one of that name is locked.
    """
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
        try:
            if _lock(fd, until_s) and _is_at(fd, path):
                locked, fd = fd, -1
                return locked
            if time.monotonic() >= until_s:
                return None
        finally:
            if fd >= 0:
                os.close(fd)


def _lock(fd: int, until_s: float) -> bool:
    """Wait for the lock; a process that was stopped may hold it for ever."""
    if sys.platform == "win32":
        return True
    import fcntl

    while True:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= until_s:
            return False
        time.sleep(_POLL_S)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


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
