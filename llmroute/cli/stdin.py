"""Read the prompt: stdin, a blank line and the argument, or one of the two."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from llmroute.cli.errors import say
from llmroute.encoding import decoded, decoded_argument
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.types import Attachment

HINT_AFTER_S = 2.0
_PIECE_BYTES = 2**20


def read_prompt(argument: str | None, *, no_stdin: bool, quiet: bool, encoding: str | None = None) -> str:
    """Return the prompt, verbatim; `encoding` is that of stdin and of the argument, None UTF-8.

    Raises:
        RequestError: stdin was requested and cannot be read, or cannot be decoded.
    """
    if argument == "-" and no_stdin:
        raise RequestError("the prompt - means stdin, and --no-stdin forbids it")
    given = "" if argument in (None, "-") else decoded_argument(str(argument), encoding, "the prompt")
    data = "" if no_stdin else decoded(_read_stdin(required=argument == "-", quiet=quiet), encoding, "stdin")
    if not data.strip():
        return given
    if not given:
        return data
    return f"{data}{'' if data.endswith(chr(10)) else chr(10)}\n{given}"


def read_attachment(*, quiet: bool) -> Attachment:
    """Return stdin as an attachment.

    Raises:
        RequestError: stdin is closed, too large, or cannot be read.
    """
    from llmroute.attachments.reading import read_to_end
    from llmroute.types import Attachment

    if sys.stdin is None:
        raise RequestError("--attach -: stdin is closed", option="attachments")
    stdin = sys.stdin.buffer
    if not quiet and not sys.stdin.isatty():
        _hint_when_silent("waiting for stdin (--attach - reads it to the end)")
    try:
        return Attachment(data=read_to_end(lambda: stdin.read(_PIECE_BYTES), "stdin"), name="stdin")
    except OSError as error:
        raise RequestError(f"stdin cannot be read: {error.strerror}", option="attachments") from error


def _read_stdin(*, required: bool, quiet: bool) -> bytes:
    stdin = sys.stdin
    if stdin is None or (stdin.isatty() and not required):
        return b""
    if not quiet and not stdin.isatty():
        _hint_when_silent("waiting for stdin (--no-stdin skips it)")
    try:
        return stdin.buffer.read()
    except OSError as error:
        raise RequestError(f"stdin cannot be read: {error.strerror}", hint="--no-stdin skips it") from error


def _hint_when_silent(hint: str) -> None:
    """Print a hint when a pipe delivers no data: it may have no writer."""
    import select

    try:
        readable, _, _ = select.select([sys.stdin], [], [], HINT_AFTER_S)
    except (OSError, ValueError):
        return
    if not readable:
        say(hint)
