"""Write answers to stdout: the answer, one newline, and nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from llmroute.cli.status_line import clear
from llmroute.cli.terminal import escaped, harmless

if TYPE_CHECKING:
    from llmroute.types import LLMResponse


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
            ReaderGone: nobody reads any more.
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


def _write(text: str) -> None:
    # UTF-8 whatever the locale says: an answer must not die of an accent at 3 a.m.
    clear()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
