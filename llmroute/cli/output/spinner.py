"""A spinner with the elapsed seconds on stderr while the command waits; only on a terminal."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.cli.output import status_line

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY_S = 1.0
INTERVAL_S = 0.2


@contextmanager
def spinning(label: str = "", *, quiet: bool) -> Iterator[None]:
    """Show a spinner, elapsed seconds and a label, from the first second until the block ends."""
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


def _spin(stop: threading.Event, started_s: float, label: str) -> None:
    if stop.wait(DELAY_S):
        return
    from rich.spinner import Spinner

    spinner = Spinner("line")
    while not stop.is_set():
        spinner.update(text=f"{time.monotonic() - started_s:.0f} s  {label}".rstrip())
        status_line.draw(spinner)
        stop.wait(INTERVAL_S)
