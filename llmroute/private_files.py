"""Files of prompts, answers and calls: a new one can be read by its owner alone; names of passing ones are unforeseen.

A file that is there keeps its mode, whether it is written on or replaced.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
_LONGEST_NAME = 48


def made_beside(path: Path) -> tuple[int, Path]:
    """Make a file in the same folder and return its descriptor and its path; no link and no other file is opened.

    Raises:
        OSError: it cannot be made.
    """
    new = path.with_name(f"{path.name[:_LONGEST_NAME]}.new-{os.urandom(8).hex()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.open(new, flags, PRIVATE), new


def put_in_place(fd: int, new: Path, path: Path) -> None:
    """Let a file take the place of `path`, once its content is on the disk; it gets the mode of the user's older file.

    Raises:
        OSError: it cannot; `path` is what it was.
    """
    older = path.stat() if path.is_file() else None
    if older is not None and older.st_uid == os.fstat(fd).st_uid:
        os.fchmod(fd, stat.S_IMODE(older.st_mode))
    os.fsync(fd)
    new.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Yield the descriptor of a new file, and put it in the place of `path` when the block has ended well.

    Raises:
        OSError: it cannot be made or put in place; `path` is what it was, and nothing new is left.
    """
    fd, new = made_beside(path)
    try:
        yield fd
        put_in_place(fd, new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
