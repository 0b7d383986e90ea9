"""What may go to a terminal: text of strangers must not steer it."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

DEFAULT_WIDTH = 80

# C0 and C1 controls but newline and tab, and the marks that turn the direction of text.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return the text with what could steer a terminal replaced by a visible mark."""
    return _STEERING.sub("\ufffd", text)


def escaped(text: str) -> str:
    """Return JSON text with what could steer a terminal as its escapes, which say the same to a program."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(stream: TextIO | None = None) -> int:
    """Return how many columns may be written on `stream`, stdout unless told.

    Those of the terminal as it is now, at most COLUMNS where that is set; COLUMNS or 80 where there is no terminal.
    """
    asked = os.environ.get("COLUMNS", "")
    most = int(asked) if asked.isascii() and asked.isdigit() else 0
    try:
        columns = os.get_terminal_size((stream or sys.stdout).fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return min(columns or most, most or columns) or DEFAULT_WIDTH


def can_ask() -> bool:
    """Whether a person can be asked: stdin and stderr are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def fancy(color: str = "auto") -> bool:
    """Whether colours and bars are wanted: on a terminal that shows them, unless the user says otherwise."""
    if color != "auto":
        return color == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
