"""The input of `gen --batch`: opened, counted and read, with errors that name it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmroute.batch.reader import read_requests
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reader import InputFormat, Request
    from llmroute.cli.arguments import RequestArguments


def open_input(name: str) -> IO[bytes]:
    """Open the input, - for stdin.

    Raises:
        RequestError: the input cannot be read.
    """
    if name == "-":
        if sys.stdin is None:
            raise RequestError("--batch -: stdin is closed")
        return sys.stdin.buffer
    with input_errors(name):
        return Path(name).open("rb")


@contextmanager
def input_errors(name: str) -> Iterator[None]:
    """Raise errors of reading the input as RequestError."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"--batch: {name} cannot be read: {error.strerror}") from error


def requests_of(
    file: IO[bytes], input_format: InputFormat, arguments: RequestArguments, name: str
) -> Iterator[Request]:
    """Yield the requests of the input; errors name the input."""
    with input_errors(name):
        try:
            yield from read_requests(file, input_format, arguments.defaults())
        except RequestError as error:
            raise RequestError(f"{input_name(name)}: {error.message}", hint=error.hint) from error


def input_name(name: str) -> str:
    """Return the name of the input for messages."""
    return "stdin" if name == "-" else name


def shows_total(input_format: InputFormat, arguments: RequestArguments) -> bool:
    """Return whether a progress bar is drawn, and shows how many lines there are: each is one request."""
    one_per_line = input_format.column is None and input_format.encoding is None
    return one_per_line and not arguments.quiet and sys.stderr.isatty()


def count_lines(file: IO[bytes]) -> int:
    """Count the lines of a regular file that are not blank."""
    start = file.tell()
    total = sum(1 for line in file if line.strip())
    file.seek(start)
    return total
