"""Files with prompts and answers on their way: only the user can read them."""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from llmroute.files import PRIVATE

if TYPE_CHECKING:
    from pathlib import Path


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
    folder.mkdir(mode=0o700, exist_ok=True)
    return TemporaryFile(dir=folder)
