"""stdin, stdout and stderr, which may be closed, on a full disk, or a pipe without a reader."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A closed stdout is replaced by one that cannot be written, also as /dev/stdout, so that no write counts as a success.
_FULL = "/dev/full" if os.path.exists("/dev/full") else os.devnull  # noqa: PTH110 (pathlib is slow to import)
_FOR_CLOSED = ((0, os.devnull, os.O_RDONLY), (1, _FULL, os.O_RDONLY), (2, os.devnull, os.O_WRONLY))


_closed: set[int] = set()


class ReaderGone(BaseException):
    """The reader has closed stdout. Not an OSError, which typer would turn into exit code 1."""


class OutputFailed(BaseException):
    """stdout is closed or cannot be written; the text is the message.

    Not an Exception, so that no handler writes to stdout.
    """

    def __init__(self, error: OSError) -> None:
        closed = error.errno == errno.EBADF
        super().__init__("stdout is closed" if closed else f"stdout cannot be written: {error.strerror}")


class _Stdout(io.FileIO):
    """Raises one of the exceptions above at the first write error; later writes are dropped."""

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
    """Drops text that cannot be written, because no stream is left to report the error."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return _written(self, data)
        except OSError:
            return memoryview(data).nbytes


def _written(stream: io.FileIO, data: ReadableBuffer) -> int:
    """Write, and wait if another process has made the descriptor non-blocking."""
    while (count := io.FileIO.write(stream, data)) is None:
        import select

        select.select([], [stream], [])
    return count


def require_stdout() -> None:
    """Check that stdout was open when the program began, before anything is paid for.

    Raises:
        OutputFailed: it was closed.
    """
    if 1 in _closed:
        raise OutputFailed(OSError(errno.EBADF, ""))


def take() -> None:
    """Open closed descriptors, so that no file or socket gets their numbers, and replace the streams by those above.

    sys.stdin stays None where it is closed; sys.stdout and sys.stderr are always streams from here on.
    """
    for number, device, mode in _FOR_CLOSED:
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.open(device, mode)  # Gets the lowest free number, which is this one.
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
