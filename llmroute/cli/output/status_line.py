"""The transient rich display on stderr (progress bar or spinner): shown on terminals only, cleared for other output.

rich is imported with the first draw, so a command that never draws does not load it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from llmroute.cli.output.terminal import width

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_lock = threading.Lock()
_live: Live | None = None


def wanted(*, quiet: bool) -> bool:
    """Whether to draw: stderr is a terminal with cursor control, and --quiet is not set."""
    return not (quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb")


def draw(display: RenderableType) -> None:
    """Show the display in place of the previous one, at the current width of the terminal."""
    global _live  # noqa: PLW0603 (the process has one stderr)
    with _lock:
        if _live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stderr)
            _live = Live(
                console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            _live.start()
            console.show_cursor(show=True)  # A killed process must not leave the cursor hidden.
        _live.console.width = width(sys.stderr) - 1
        _live.update(display, refresh=True)


def clear() -> None:
    """Remove the display so that other text can be written; the next draw shows it again."""
    global _live  # noqa: PLW0603
    with _lock:
        if _live is not None:
            _live.stop()
            _live = None
