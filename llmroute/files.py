"""Create files that only their owner can read, replace files atomically, and lock them.

An existing file keeps its mode, whether it is written to or replaced.  Names of temporary files are random.  A file is
locked by its descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager
from enum import IntEnum
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from llmroute.errors import OutputError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
LOCK_WAIT_S: Final = 10.0
"""How long a lock of the ledger or of config.toml is waited for where nothing else is configured."""
_LONGEST_NAME = 48
_LOOK_AGAIN_S = 0.005
# The path is not a possible place for a file, rather than that the file cannot be written there.
_BAD_PATH = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def cannot_write(path: object, error: OSError) -> RequestError | OutputError:
    """Return the error for an output file: a RequestError for an impossible path, otherwise an OutputError."""
    kind = RequestError if error.errno in _BAD_PATH else OutputError
    return kind(f"{path} cannot be written: {error.strerror or error}")


def regular_target(path: Path) -> Path:
    """Return the file that an output path names, with links followed; it may not exist yet.

    Raises:
        RequestError: it is a directory, a device or a pipe, which a new file must not replace, or no possible path.
        OutputError: it cannot be looked up.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise cannot_write(path, error) from error
    except ValueError as error:
        raise RequestError(f"{str(path)!r} cannot be written: {error}") from error
    if not stat.S_ISREG(mode):
        raise RequestError(f"{path} cannot be written: it is {'a directory' if stat.S_ISDIR(mode) else 'not a file'}")
    return path.resolve()


def is_same_file(file: Path, other: Path) -> bool:
    """Whether two paths name one file, also through links; it may not exist yet."""
    if os.path.realpath(file) == os.path.realpath(other):
        return True
    try:
        return file.samefile(other)
    except OSError:
        # One of them does not exist, or is no possible path.
        return False


def new_file_beside(path: Path) -> tuple[int, Path]:
    """Make a file in the folder of another; return its descriptor and its path.  No link and no other file is opened.

    Raises:
        OSError: it cannot be made.
    """
    new = path.with_name(f"{path.name[:_LONGEST_NAME]}.new-{os.urandom(8).hex()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.open(new, flags, PRIVATE), new


def put_in_place(fd: int, new: Path, path: Path) -> None:
    """Rename a file to `path`, once its content is on the disk; it gets the mode of the user's older file.

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
    fd, new = new_file_beside(path)
    try:
        yield fd
        put_in_place(fd, new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


class Hold(IntEnum):
    """How a file is locked: by one process alone, or by all that share it."""

    ALONE = fcntl.LOCK_EX
    SHARED = fcntl.LOCK_SH


def replace(path: Path, data: bytes) -> None:
    """Put a file with these bytes in the place of `path`.

    Raises:
        OSError: it cannot be made or put in place; `path` is what it was.
    """
    with replacing(path) as fd, open(fd, "wb", closefd=False) as file:
        file.write(data)


def open_locked(path: Path, flags: int, within_s: float) -> tuple[int, bool] | None:
    """Open a file and lock it until it is closed; return its descriptor, and whether this call has created it.

    The file that has the name in the end is the one that is locked: it may be replaced while its lock is waited for.
    A device is not locked: all processes share /dev/null.
    None if others keep it locked for longer than `within_s` seconds.

    Raises:
        OSError: it cannot be opened, created or locked.
    """
    until_s = monotonic() + within_s
    while True:
        fd, created = _opened(path, flags)
        try:
            if not stat.S_ISCHR(os.fstat(fd).st_mode) and not locked(fd, until_s - monotonic()):
                return None
            if is_at(fd, path):
                kept, fd = fd, -1
                return kept, created
        finally:
            if fd >= 0:
                os.close(fd)


def _opened(path: Path, flags: int) -> tuple[int, bool]:
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE), True
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, PRIVATE), False


def locked(fd: int, within_s: float, hold: Hold = Hold.ALONE) -> bool:
    """Lock an open file, which unlocks when it is closed; False if others keep it longer than that.

    Where there are no locks, as on some network file systems, there is nothing to wait for.

    Raises:
        OSError: it cannot be locked.
    """
    until_s = monotonic() + within_s
    while True:
        try:
            fcntl.flock(fd, hold | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until_s:
                return False
            sleep(_LOOK_AGAIN_S)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            raise
        else:
            return True


def unlock(fd: int) -> None:
    """Unlock an open file.

    Raises:
        OSError: it cannot be unlocked.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file is still the one of that name: one that waits for a lock may meet another there."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
