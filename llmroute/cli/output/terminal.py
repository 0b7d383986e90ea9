"""Terminal safety, width and color: control characters of untrusted text never reach a terminal."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console

DEFAULT_WIDTH = 80

# C0 and C1 controls except newline and tab, and bidirectional text marks.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return the text with terminal control characters replaced by U+FFFD."""
    return _CONTROLS.sub("\ufffd", text)


def escaped(text: str) -> str:
    """Return JSON text with terminal control characters as equivalent JSON escapes."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(stream: TextIO | None = None) -> int:
    """Return the width of `stream` (default: stdout) in columns.

    The current width of the terminal, limited by COLUMNS if set; without a terminal, COLUMNS or 80.
    """
    setting = os.environ.get("COLUMNS", "")
    most = int(setting) if setting.isascii() and setting.isdigit() else 0
    try:
        columns = os.get_terminal_size((stream or sys.stdout).fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return min(columns or most, most or columns) or DEFAULT_WIDTH


def terminal_width() -> int | None:
    """Return the width of stdout if it is a terminal, else None: tables in a pipe are not wrapped."""
    return width() if sys.stdout.isatty() else None


def can_confirm() -> bool:
    """Whether the user can be prompted: stdin and stderr are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def fancy(color: str = "auto") -> bool:
    """Whether to print colors and charts: by default on a terminal that supports them, unless NO_COLOR is set."""
    if color != "auto":
        return color == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def rich_console(file: TextIO, columns: int, *, color: bool) -> Console:
    """Return a console that writes to `file`, with the 16 colors of the user's palette or without any escape."""
    from rich.console import Console

    return Console(
        file=file,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=False,
        legacy_windows=False,
        width=columns,
        _environ={},
    )
