"""Split a growing Markdown text into complete blocks, and return its last screenful."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from llmroute.cli.markdown.outline import LEAD, Outline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markdown_it import MarkdownIt

# How many times as much as has been taken may be parsed to find where blocks begin.
PARSED_AT_MOST: Final = 4
# How many characters of indentation, marks of quotes and markers of lists are kept of a line of which the end is shown.
LEAD_AT_MOST: Final = 64


class Blocks:
    """Splits a text that arrives in pieces into chunks of complete blocks, to be printed.

    All blocks but the last are complete after a piece that ends a line.  The chunks are those of a parse after each of
    these pieces, but a parse is put off while nothing looks like the beginning of a block, or too much has been parsed:
    the later one finds where the earlier ones would have cut.
    """

    def __init__(self) -> None:
        self._outline = Outline()
        self._rest: list[str] = []  # the parts of the line that has not ended
        self._reached: list[int] = []  # the number of the last line that had begun, at each parse that was put off
        self._wanted = False
        self._size = self._taken = self._parsed = 0
        self._parser: MarkdownIt | None = None

    def add(self, piece: str) -> list[str]:
        """Add a piece; return the chunks that it completes."""
        self._taken += len(piece)
        self._size += len(piece)
        *ended, rest = piece.split("\n")
        if not ended:
            self._rest += [rest] * bool(rest)
            return []
        ended[0] = "".join((*self._rest, ended[0]))
        self._rest = [rest] * bool(rest)
        for line in ended:
            self._wanted |= self._outline.add(line)
        self._wanted |= self._outline.may_begin(rest)
        reached = len(self._outline.lines) - (not rest.strip())
        if not self._reached or self._reached[-1] < reached:
            self._reached.append(reached)
        affordable = self._parsed + self._size <= PARSED_AT_MOST * self._taken
        return self._cut() if self._wanted and affordable else []

    def end(self) -> list[str]:
        """Return the rest of the text, in chunks."""
        chunks = self._cut() if self._reached and not self._outline.unclosed() else []
        left = "\n".join((*self._outline.lines, "".join(self._rest)))
        self._outline, self._rest, self._size = Outline(), [], 0
        return [*chunks, left]

    def tail(self, rows: int, columns: int) -> tuple[str, bool]:
        """Return the last rows of the incomplete text, at most `rows`, and whether there is text above them.

        Lines above that they depend on, such as the line that opens their fence, are included.  No
        more than a few screenfuls are looked at, however long the block is.
        """
        outline, left, screen = self._outline, rows, rows * columns
        line = _end(self._end_of_rest(screen), screen)
        at, parent, shown = len(outline.lines), outline.parent(line), [line]
        left -= 1 + len(line) // columns
        while at > 0 and left > 0:
            at -= 1
            line = _end(outline.lines[at], left * columns)
            if line.strip():
                parent = outline.parents[at]
            shown.append(line)
            left -= 1 + len(line) // columns
        context = [line[:screen] for line in outline.context(parent, rows)]
        return "\n".join((*context, *reversed(shown))), at > 0

    def _cut(self) -> list[str]:
        """Parse the incomplete rest, and cut where each parse that was put off would have cut."""
        lines = self._outline.lines
        starts = self._starts("\n".join((*lines, "".join(self._rest))))
        chunks: list[str] = []
        cut = 0
        for reached in self._reached:
            found = bisect_right(starts, reached)
            start = starts[found - 1] if found else 0
            if start > cut:
                chunks.append("".join(f"{line}\n" for line in lines[cut:start]))
                cut = start
        self._reached.clear()
        self._wanted = False
        if chunks:
            self._size -= sum(map(len, chunks))
            self._outline = Outline()
            for line in lines[cut:]:
                self._outline.add(line)
        return chunks

    def _starts(self, text: str) -> list[int]:
        """Return the numbers of the lines with which the blocks of a text begin."""
        from markdown_it import MarkdownIt

        self._parsed += len(text)
        if self._parser is None:
            self._parser = MarkdownIt().enable("table").disable("inline")
        return [token.map[0] for token in self._parser.parse(text) if token.level == 0 and token.map]

    def _end_of_rest(self, most: int) -> str:
        """Return the line that has not ended; of a long one how it begins, and so many characters of its end."""
        ends: list[str] = []
        size = 0
        for piece in reversed(self._rest):
            if size >= most:
                return _lead(islice(chain.from_iterable(self._rest), LEAD_AT_MOST)) + "".join(reversed(ends))
            ends.append(piece[-most:])
            size += len(ends[-1])
        return "".join(reversed(ends))


def _end(line: str, most: int) -> str:
    """Return so many characters of the end of a line, where a word begins, behind the marks that it begins with."""
    if len(line) <= most:
        return line
    end = line[-most:]
    words = end.partition(" ")[2]
    return _lead(line[:LEAD_AT_MOST]) + (words if len(words) > most // 2 else end)


def _lead(beginning: Iterable[str]) -> str:
    found = LEAD.match("".join(beginning))
    return found[0] if found else ""
