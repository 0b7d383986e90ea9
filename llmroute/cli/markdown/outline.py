"""The lines of a growing Markdown block: where it may end, and the lines that its last lines need to be displayed.

Each line is examined once, when it has ended. The results are estimates, because parsing the whole text would take too
long: they decide when a text is parsed and the preview, not how the text is split or printed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# How a line begins, indented by one space at most.
_KIND: Final = re.compile(
    r"""[ ]?(?:
      (?P<row>\|)
    | (?P<heading>\#{1,6}(?!\S))
    | (?P<rule>([-_*])(?:[ \t]*\4){2,}[ \t]*$)
    | (?P<delimiter>:?-+:?[ \t]*\|)
    | (?P<dash>-(?!\S)) | (?P<plus>\+(?!\S)) | (?P<star>\*(?!\S))
    | (?P<dot>\d{1,9}\.(?!\S)) | (?P<parenthesis>\d{1,9}\)(?!\S))
    | (?P<quote>>)
    | (?P<fence>```|~~~)
    | (?P<html><)
    )""",
    re.VERBOSE,
)
_LISTS: Final = {"dash", "plus", "star", "dot", "parenthesis"}
# A block of these continues with a line of its own kind: after a blank line too, or only without one.
_LOOSE: Final = {*_LISTS, "inner"}
_TIGHT: Final = {"row", "quote", "html"}
# After a line of these, plain text begins a block.
_OVER: Final = {"blank", "heading", "rule", "fence"}

LEAD: Final = re.compile(r"(?:[\s>]|[-+*][ \t]|\d{1,9}[.)][ \t])*")
"""The indentation, the marks of quotes and the markers of lists that a line begins with."""
_FENCE: Final = re.compile(r"(?P<fence>`{3,}(?=[^`]*$)|~{3,})")


class _Fence(NamedTuple):
    """An open fence: the line that opens it, its marks, and whether it is the block itself rather than within it."""

    at: int
    marks: str
    top: bool

    def closed_by(self, line: str) -> bool:
        """Whether this line ends it."""
        if self.top and line[:4].isspace():
            return False
        marks = line.strip(" \t" if self.top else " \t>")
        return len(marks) >= len(self.marks) and not marks.strip(self.marks[0])


class Outline:
    """The ended lines of a text, the first of which begins a block."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.parents: list[int] = []
        self._path: list[tuple[int, int]] = []  # the indentation and number of each line that the last one is within
        self._fence: _Fence | None = None
        self._table: int | None = None
        self._first = ""
        self._before = "blank"

    def add(self, line: str) -> bool:
        """Add a line that has ended; return whether another block may begin with it."""
        begins = self.may_begin(line)
        self.parents.append(self.parent(line))
        self._place(line)
        self.lines.append(line)
        return begins

    def may_begin(self, line: str) -> bool:
        """Whether another block may begin with this line, were it the next one."""
        if not self._first or (self._fence and self._fence.top):
            return False
        kind = self._kind(line)
        if kind == "blank":
            return False
        if kind == self._first and (kind in _LOOSE or (kind in _TIGHT and self._before != "blank")):
            return False
        if kind == "inner":
            return self._first not in _LISTS and self._before in _OVER
        return kind != "plain" or self._before in _OVER

    def unclosed(self) -> bool:
        """Whether the block is fenced code whose end has not come: then nothing else begins."""
        return self._fence is not None and self._fence.top

    def parent(self, line: str) -> int:
        """Return the number of the line without which this one, were it the next, would be shown as another thing.

        It is the line that opens the fence, the one below the head of the table, or else one that is indented less; -1
        where there is none.
        """
        if self._fence:
            return self._fence.at
        if self._table is not None and line.strip():
            return self._table
        if self.lines and _is_delimiter(line) and "|" in self.lines[-1]:
            return len(self.lines) - 1
        indentation = _indentation(line)
        return next((at for indented, at in reversed(self._path) if indented < indentation), -1)

    def context(self, parent: int, most: int) -> list[str]:
        """Return that line and those that it needs in turn, the outermost first, at most so many."""
        found: list[str] = []
        while parent >= 0 and len(found) < most:
            found.append(self.lines[parent])
            parent = self.parents[parent]
        return found[::-1]

    def _kind(self, line: str) -> str:
        if not line.strip():
            return "blank"
        found = _KIND.match(line)
        if found and found.lastgroup:
            return found.lastgroup
        return "inner" if line[0] == "\t" or line[:2] == "  " else "plain"

    def _place(self, line: str) -> None:
        """Remember what the line changes for those that follow it."""
        at = len(self.lines)
        if self._fence:
            if self._fence.closed_by(line):
                self._before = "fence"
                self._fence = None
            return
        self._before = self._kind(line)
        if self._before == "blank":
            self._table = None
            return
        if self._table is None and self.parents[at] == at - 1 and _is_delimiter(line):
            self._table = at
        indentation = _indentation(line)
        while self._path and self._path[-1][0] >= indentation:
            self._path.pop()
        self._path.append((indentation, at))
        lead = LEAD.match(line)
        opened = _FENCE.match(line, lead.end() if lead else 0)
        if opened:
            self._fence = _Fence(at, opened["fence"], top=not self._first and self._before == "fence")
        self._first = self._first or self._before


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_delimiter(line: str) -> bool:
    """Whether the line may stand between the head of a table and its rows."""
    return "-" in line and "|" in line and not line.strip(" \t>|:-")
