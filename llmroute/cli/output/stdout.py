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


_PIECE = 1 << 16


class AnswerWriter:
    """Writes an answer piece by piece; verbatim into a pipe, made harmless on a terminal.

    Newlines at the end are held back, so that the answer ends in exactly one.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._held = ""

    def write(self, piece: str) -> None:
        """Write a piece at once.

        Raises:
            ReaderGone: the reader has closed the pipe.
            OutputFailed: stdout takes no more.
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
    """Write text that is the program's own."""
    _write(text)


@contextmanager
def written_out() -> Iterator[TextIO]:
    """Lend a file whose text goes to stdout in large pieces; on a terminal it is made harmless."""
    out = _Out()
    yield out
    out.flush()


class _Out(StringIO):
    """Holds text back until there is enough of it to be written at once."""

    def write(self, text: str) -> int:
        """Keep text, and write what is there when it is much."""
        length = super().write(text)
        if self.tell() > _PIECE:
            self.flush()
        return length

    def flush(self) -> None:
        """Write all that was kept."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        if text:
            _write(harmless(text) if sys.stdout.isatty() else text)


def _write(text: str) -> None:
    # UTF-8 whatever the locale says: an answer must not die of an accent at 3 a.m.
    clear()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
