"""Files with prompts and answers on their way: only the user can read them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from llmroute.errors import OutputError
from llmroute.files import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise an OutputError for an OSError of a file in a folder."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error


def new_file(path: Path) -> IO[bytes]:
    """Create a file that only the user can read, and its folder.

    Raises:
        OSError: it cannot be created.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb")  # noqa: PTH123 (a descriptor)


def unnamed_file(folder: Path) -> IO[bytes]:
    """Create a file without a name in a folder, which is created too; it is gone when it is closed.

    Raises:
        OSError: it cannot be created.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return TemporaryFile(dir=folder)
