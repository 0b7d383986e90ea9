"""Write answers to stdout: the answer, one newline, and nothing else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from llmroute.cli.output.status_line import clear
from llmroute.cli.output.terminal import escaped, harmless

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from llmroute.types import LLMResponse


STDOUT = "-"
"""Stands for stdout where a file is named."""
_PIECE = 1 << 16


class AnswerWriter:
    """Writes an answer as it arrives: verbatim into a pipe, without control characters on a terminal.

    Newlines at the end are held back, so that the answer ends in exactly one.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._held = ""

    def write(self, piece: str) -> None:
        """Write a part at once.

        Raises:
            ReaderGone: the reader has closed the pipe.
            OutputFailed: stdout cannot be written.
        """
        text = self._held + piece
        shown = text.rstrip("\n")
        self._held = text[len(shown) :]
        if shown:
            _write(harmless(shown) if self._terminal else shown)

    def end(self, _response: LLMResponse | None = None) -> None:
        """End the answer with its newline."""
        self._held = ""
        _write("\n")


def write_json(value: Any) -> None:
    """Write one JSON value on a line of its own."""
    import json

    text = json.dumps(value, ensure_ascii=False)
    _write((escaped(text) if sys.stdout.isatty() else text) + "\n")


def write_text(text: str) -> None:
    """Write text of the program itself."""
    _write(text)


@contextmanager
def written_out() -> Iterator[TextIO]:
    """Yield a file whose text is written to stdout in large parts, on a terminal without control characters."""
    out = _Out()
    yield out
    out.flush()


class _Out(StringIO):
    """Buffers text and writes it in large parts."""

    def write(self, text: str) -> int:
        """Buffer text, and write the buffer if it is large."""
        length = super().write(text)
        if self.tell() > _PIECE:
            self.flush()
        return length

    def flush(self) -> None:
        """Write the buffered text."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        if text:
            _write(harmless(text) if sys.stdout.isatty() else text)


def _write(text: str) -> None:
    # UTF-8 in any locale, so that no answer fails on a character.
    clear()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
