"""The forms of a written answer: unchanged, its first fenced block, Markdown on a terminal, or JSON."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from llmroute.cli.output.stdout import AnswerWriter, write_json
from llmroute.cli.output.tables import response_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import LLMResponse

_OPENING = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)", re.DOTALL)
_CLOSING = re.compile(r" {0,3}(?:(`{3,})|(~{3,}))[ \t]*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Writer(Protocol):
    """Writes an answer as it arrives."""

    def write(self, piece: str) -> None:
        """Write a part."""

    def end(self, response: LLMResponse | None = None) -> None:
        """End the answer; without a response it is incomplete."""


def writer_for(arguments: RequestArguments, as_json: type[Writer]) -> Writer:
    """Return the requested writer, `as_json` for JSON; a pipe gets no Markdown."""
    if arguments.as_json:
        writer: Writer = as_json()
    elif arguments.render and not arguments.extract and sys.stdout.isatty():
        from llmroute.cli.markdown.live import MarkdownWriter

        writer = MarkdownWriter(arguments.color)
    else:
        writer = AnswerWriter()
    return _FirstBlock(writer) if arguments.extract else writer


class JSONWriter:
    """Writes the response as one object."""

    def write(self, piece: str) -> None:
        """Ignore the part: the response contains it."""

    def end(self, response: LLMResponse | None = None) -> None:
        """Write the object; an incomplete answer has none."""
        if response is not None:
            write_json(response_as_json(response))


class JSONLinesWriter:
    """Writes an object for the start, for each part, and for the end."""

    def __init__(self) -> None:
        self._begun = False

    def write(self, piece: str) -> None:
        """Write the object of a part."""
        self._begin()
        write_json({"type": "delta", "text": piece})

    def end(self, response: LLMResponse | None = None) -> None:
        """Write the object of the end; an incomplete answer has none."""
        if response is not None:
            self._begin()
            write_json({"type": "end", **response_as_json(response)})

    def _begin(self) -> None:
        if not self._begun:
            write_json({"type": "start"})
        self._begun = True


class _FirstBlock:
    """Buffers the answer until it is complete, and writes its first fenced block."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._pieces: list[str] = []

    def write(self, piece: str) -> None:
        """Buffer a part."""
        self._pieces.append(piece)

    def end(self, response: LLMResponse | None = None) -> None:
        """Write the block, which becomes the content of the response."""
        self._writer.write(first_block("".join(self._pieces)))
        self._writer.end(None if response is None else replace(response, content=first_block(response.content)))


def first_block(text: str) -> str:
    """Return the content of the first closed fenced block, the whole text if there is none.

    Fences are CommonMark's: a block ends with a fence of the same character that is at least as long as its first.
    """
    lines = _LINE.findall(text)
    begin, longest_below = None, {"`": 0, "~": 0}
    for at in reversed(range(len(lines))):
        character, length = _fence(_OPENING, lines[at])
        if length and longest_below[character] >= length:
            begin = at
        character, length = _fence(_CLOSING, lines[at])
        if length > longest_below.get(character, 0):
            longest_below[character] = length
    return text if begin is None else "".join(_block(lines[begin:]))


def _block(lines: list[str]) -> Iterator[str]:
    """Yield the lines between a fence and the one that closes it."""
    character, least = _fence(_OPENING, lines[0])
    for line in lines[1:]:
        closing, length = _fence(_CLOSING, line)
        if closing == character and length >= least:
            return
        yield line


def _fence(form: re.Pattern[str], line: str) -> tuple[str, int]:
    """Return the character and the length of a line's fence; 0 if it is not a fence."""
    found = form.fullmatch(line.rstrip("\r\n"))
    if found is None:
        return "", 0
    run = found[1] or found[2]
    return run[0], len(run)
