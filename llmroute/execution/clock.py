"""The clock of a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmroute.errors import DeadlineError
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Clock of one request, in seconds; excludes the time that the request spent in a queue."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._left_out_s = 0.0
        self.started_s = monotonic()

    def __call__(self) -> float:
        """Return seconds since an arbitrary moment."""
        return self._monotonic() - self._left_out_s

    def leave_out(self, seconds: float) -> None:
        """Exclude seconds that have just passed."""
        self._left_out_s += seconds


def deadline_error(within_s: float) -> DeadlineError:
    """Return the error of a request that timed out before anything was sent."""
    hint = OptionText("allow more with ", Remedy("timeout_s"))
    return DeadlineError(f"nothing could be sent within {within_s:g} s", hint=hint, option="timeout_s")
