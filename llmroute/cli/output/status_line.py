"""The one line on stderr that is written over while something is under way; plain text, not one escape.

`rich.progress` and `rich.status` take 150 ms of CPU to import where typer takes 100, and they hide the cursor, which a
killed process leaves hidden.
"""

from __future__ import annotations

import os
import sys
import threading

from llmroute.cli.output.terminal import width
from llmroute.cli.output.text_width import cells

_writing = threading.Lock()
_shown = ""


def wanted(*, quiet: bool) -> bool:
    """Whether anybody looks: stderr is a terminal that can go back to the beginning of its line."""
    return not (quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb")


def draw(text: str) -> None:
    """Show `text`, which is narrower than the terminal, in place of what was shown."""
    with _writing:
        _write("\r" + text + " " * (_reachable() - cells(text)), text)


def clear() -> None:
    """Take the line away, so that something else may be written there."""
    with _writing:
        if _shown:
            _write("\r" + " " * _reachable() + "\r", "")


def _reachable() -> int:
    """Return how many columns of what is shown can be written over: a terminal that was made narrower has broken it."""
    return min(cells(_shown), width(sys.stderr) - 1)


def _write(written: str, left: str) -> None:
    global _shown  # noqa: PLW0603 (there is one stderr)
    _shown = left
    sys.stderr.write(written)
    sys.stderr.flush()
