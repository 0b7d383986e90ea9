"""The ways in which an answer may be written: as it is, its first fenced block, or as Markdown on a terminal."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Protocol

from llmroute.cli.output import AnswerWriter
from llmroute.cli.terminal import harmless

if TYPE_CHECKING:
    from rich.live import Live

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
    return MarkdownWriter() if asked.render and sys.stdout.isatty() else AnswerWriter()


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


class MarkdownWriter:
    """Shows Markdown on a terminal, and shows it anew as it grows."""

    def __init__(self) -> None:
        self._text = ""
        self._live: Live | None = None

    def write(self, piece: str) -> None:
        """Show the answer with this piece in it."""
        from rich.console import Console
        from rich.live import Live
        from rich.markdown import Markdown

        self._text += harmless(piece)
        if self._live is None:
            self._live = Live(console=Console(file=sys.stdout), vertical_overflow="visible", refresh_per_second=8)
            self._live.start()
        self._live.update(Markdown(self._text))

    def end(self) -> None:
        """Leave the answer on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
