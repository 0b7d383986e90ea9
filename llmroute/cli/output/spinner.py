"""A quiet sign of life on stderr while an answer is awaited; only where somebody looks."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.cli.output import status_line
from llmroute.cli.output.terminal import width
from llmroute.cli.output.text_width import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

AFTER_S = 1.0
EVERY_S = 0.2
FRAMES = "|/-\\"


@contextmanager
def spinning(label: str = "", *, quiet: bool) -> Iterator[None]:
    """Show elapsed seconds and a label after the first second, until the block ends."""
    if not status_line.wanted(quiet=quiet):
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_spin, args=(stop, time.monotonic(), label), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        status_line.clear()


def _spin(stop: threading.Event, started: float, label: str) -> None:
    if stop.wait(AFTER_S):
        return
    turn = 0
    while not stop.is_set():
        told = f"{FRAMES[turn % len(FRAMES)]} {time.monotonic() - started:.0f} s  {label}".rstrip()
        status_line.draw(cut(told, width(sys.stderr) - 1))
        turn += 1
        stop.wait(EVERY_S)
