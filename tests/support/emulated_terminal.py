"""What stands on a terminal after what was written to it: as much of one as rich's live displays ask for."""

from __future__ import annotations

import re

from rich.cells import cell_len

_PARTS = re.compile(r"\x1b\[(?P<parameter>\??\d*(?:;\d+)*)(?P<command>[A-Za-z])|(?P<letter>.)", re.DOTALL)
WIDE = "\0"  # the second column of a wide letter


class EmulatedTerminal:
    """A terminal of so many columns and rows; what leaves it at the top is kept and cannot be reached any more."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Show what a program writes; newlines return the carriage, as terminals are set to."""
        for part in _PARTS.finditer(text):
            if part["command"]:
                self._obey(part["command"], int(part["parameter"].strip("?") or 1) if part["command"] in "AK" else 0)
            elif part["letter"] == "\n":
                self._column = 0
                self._down()
            elif part["letter"] == "\r":
                self._column = 0
            else:
                self._put(part["letter"])

    @property
    def lines(self) -> list[str]:
        """All lines, those that have left the screen too, without blanks at their ends."""
        return ["".join(line).replace(WIDE, "").rstrip() for line in self._lines]

    @property
    def screen(self) -> list[str]:
        """The lines that are on the screen."""
        return self.lines[-self._rows :]

    def _obey(self, command: str, parameter: int) -> None:
        if command == "A":
            self._row = max(self._row - parameter, len(self._lines) - self._rows, 0)
        elif command == "K":
            assert parameter == 2
            self._lines[self._row] = []
        else:
            assert command in "mhl", f"not a command that is known here: {command}"

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    def _put(self, letter: str) -> None:
        size = cell_len(letter)
        if self._column + size > self._columns:
            self._column = 0
            self._down()
        line = self._lines[self._row]
        line += " " * (self._column + size - len(line))
        line[self._column : self._column + size] = [letter, *WIDE * (size - 1)]
        self._column += size
