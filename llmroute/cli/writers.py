"""The ways in which an answer may be written: as it is, its first fenced block, or as Markdown on a terminal."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Protocol

from llmroute.cli.output import AnswerWriter

if TYPE_CHECKING:
    from llmroute.cli.asked import Asked

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)^ {0,3}\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)


class Writer(Protocol):
    """Takes an answer piece by piece."""

    def write(self, piece: str) -> None:
        """Take a piece."""

    def end(self) -> None:
        """End the answer with its newline."""


def writer_for(asked: Asked) -> Writer:
    """Return the writer that was asked for; a pipe gets no Markdown."""
    if asked.extract:
        return ExtractWriter()
    if asked.render and sys.stdout.isatty():
        from llmroute.cli.markdown import MarkdownWriter

        return MarkdownWriter(asked.color)
    return AnswerWriter()


def first_block(text: str) -> str:
    """Return what stands in the first fenced block, the whole text when there is none."""
    found = _FENCED.search(text)
    return found[2] if found else text


class ExtractWriter:
    """Holds the answer until it is whole, and writes its first fenced block."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def write(self, piece: str) -> None:
        """Hold a piece."""
        self._pieces.append(piece)

    def end(self) -> None:
        """Write the block."""
        writer = AnswerWriter()
        writer.write(first_block("".join(self._pieces)))
        writer.end()
