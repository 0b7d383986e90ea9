"""The one line on stderr that is written over while something is under way; plain text, not one escape."""

from __future__ import annotations

import os
import sys
import threading

from llmroute.cli.cells import cells

_writing = threading.Lock()
_shown = ""


def wanted(*, quiet: bool) -> bool:
    """Whether anybody looks: stderr is a terminal that can go back to the beginning of its line."""
    return not (quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb")


def draw(text: str) -> None:
    """Show `text`, which is narrower than the terminal, in place of what was shown."""
    with _writing:
        _write("\r" + text + " " * (cells(_shown) - cells(text)), text)


def clear() -> None:
    """Take the line away, so that something else may be written there."""
    with _writing:
        if _shown:
            _write("\r" + " " * cells(_shown) + "\r", "")


def _write(written: str, left: str) -> None:
    global _shown  # noqa: PLW0603 (there is one stderr)
    _shown = left
    sys.stderr.write(written)
    sys.stderr.flush()
