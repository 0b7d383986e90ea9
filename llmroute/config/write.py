"""Atomic replacement of config.toml under a lock."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute import files
from llmroute.errors import ConfigWriteError
from llmroute.files import open_locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(path: Path, wait_s: float) -> Iterator[None]:
    """Lock a file from reading to replacing it; an empty file is created if there is none.

    Raises:
        ConfigWriteError: it cannot be opened, or another process holds the lock for longer than `wait_s` seconds.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = open_locked(path, os.O_RDONLY, wait_s)
    except OSError as error:
        raise ConfigWriteError(f"{path}: cannot be written: {error.strerror}") from error
    if held is None:
        raise ConfigWriteError(
            f"{path}: another process has held its lock for {wait_s:g} s",
            hint="try again when that process has finished, or end it if it is stopped",
        )
    try:
        yield
    finally:
        os.close(held[0])


def replace(path: Path, data: bytes) -> None:
    """Replace a file, keeping its mode; a symbolic link stays a link.

    Raises:
        ConfigWriteError: it cannot be written; the old file is unchanged.
    """
    path = path.resolve()
    try:
        files.replace(path, data)
    except OSError as error:
        raise ConfigWriteError(f"{path}: cannot be written: {error.strerror}") from error
