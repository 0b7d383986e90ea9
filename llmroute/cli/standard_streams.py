"""stdin, stdout and stderr as the program is given them: open, closed, on a full disk, or with no reader left."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A closed stdout becomes one that cannot be written either, under the name of /dev/stdout too: what is written to it
# must not count as written.
_FULL = "/dev/full" if os.path.exists("/dev/full") else os.devnull  # noqa: PTH110 (pathlib is slow to import)
_FOR_CLOSED = ((0, os.devnull, os.O_RDONLY), (1, _FULL, os.O_RDONLY), (2, os.devnull, os.O_WRONLY))


class ReaderGone(BaseException):
    """Whoever read stdout has closed it.  Not an OSError, which typer would turn into exit code 1."""


class OutputFailed(BaseException):
    """stdout is closed or takes no more; its text says so.  Not an Exception, which a caller might answer on stdout."""

    def __init__(self, error: OSError) -> None:
        closed = error.errno == errno.EBADF
        super().__init__("stdout is closed" if closed else f"stdout cannot be written: {error.strerror}")


class _Stdout(io.FileIO):
    """Tells once, by its own exceptions, that it takes no more; what is written after that is dropped."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:
            return memoryview(data).nbytes
        try:
            return _written(self, data)
        except BrokenPipeError:
            self._failed = True
            raise ReaderGone from None
        except OSError as error:
            self._failed = True
            raise OutputFailed(error) from None


class _Stderr(io.FileIO):
    """Drops what cannot be written: nothing is left to tell of it on."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(self, data)
        except OSError:
            return memoryview(data).nbytes


def _written(stream: io.FileIO, data: ReadableBuffer) -> int:
    """Write, and wait where another holder of the same descriptor has made it non-blocking."""
    while (count := io.FileIO.write(stream, data)) is None:
        import select

        select.select([], [stream], [])
    return count


def take() -> None:
    """Fill closed descriptors, so that no file and no socket gets their numbers, and have failures told as above.

    sys.stdin stays None where it is closed; sys.stdout and sys.stderr are streams from here on.
    """
    for number, device, mode in _FOR_CLOSED:
        try:
            os.fstat(number)
        except OSError:
            os.open(device, mode)  # gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)  # noqa: FBT003 (takes no name)
    out, err = sys.stdout, sys.stderr
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(1, "w", closefd=False)),
        encoding=out.encoding if out else "utf-8",
        errors=out.errors if out else "replace",
        line_buffering=bool(out and out.line_buffering),
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Stderr(2, "w", closefd=False)),
        encoding=err.encoding if err else "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
