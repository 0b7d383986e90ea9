"""A quiet sign of life on stderr while an answer is awaited; only where somebody looks."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AFTER_S = 1.0
EVERY_S = 0.2
FRAMES = "|/-\\"

_drawn = threading.Lock()
_shown = ""


@contextmanager
def spinning(*, quiet: bool) -> Iterator[None]:
    """Show elapsed seconds after the first one, until the block ends.  Plain text: no escape is written."""
    if quiet or sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_spin, args=(stop, time.monotonic()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        clear()


def clear() -> None:
    """Take the sign off the line, so that something else may be written there."""
    global _shown  # noqa: PLW0603 (there is one stderr)
    with _drawn:
        if _shown:
            sys.stderr.write("\r" + " " * len(_shown) + "\r")
            sys.stderr.flush()
            _shown = ""


def _spin(stop: threading.Event, started: float) -> None:
    global _shown  # noqa: PLW0603 (there is one stderr)
    if stop.wait(AFTER_S):
        return
    turn = 0
    while not stop.is_set():
        with _drawn:
            _shown = f"{FRAMES[turn % len(FRAMES)]} {time.monotonic() - started:.0f} s"
            sys.stderr.write("\r" + _shown)
            sys.stderr.flush()
        turn += 1
        stop.wait(EVERY_S)
