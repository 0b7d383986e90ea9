"""When a pool of many requests stops: the next request would fail for the same reason as the last one."""

from __future__ import annotations

import time

from llmroute.errors import AllProvidersFailedError, BudgetExceededError, CheckFaultError, LLMRouteError
from llmroute.exit_codes import SETUP, TRY_LATER, USAGE

MAX_OUTAGE_S = 300.0
"""After so long without an answer, or if a provider wants a longer wait, the pool stops."""
MAX_ACCOUNT_ERRORS = 20
"""After so many consecutive configuration or account problems (key, credit, model), the pool stops."""


class StopRule:
    """Decides by the answers and failures of all requests."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._answered_at_s = 0.0
        self._idle_since_s = 0.0
        self._account_errors = 0

    def note_begin(self) -> None:
        """Note that a request begins."""
        if not self._in_flight:
            # Idle time is not an outage.
            self._answered_at_s += time.monotonic() - self._idle_since_s
        self._in_flight += 1

    def note_end(self) -> None:
        """Note that a request has ended."""
        self._in_flight -= 1
        self._idle_since_s = time.monotonic()

    def note_answer(self) -> None:
        """Note that a request was answered."""
        self._answered_at_s = time.monotonic()
        self._account_errors = 0

    def stops_after(self, error: LLMRouteError) -> bool:
        """Note that a request has failed and is not retried; return whether the pool stops."""
        self._account_errors += error.exit_code == SETUP
        outage_s = time.monotonic() - self._answered_at_s
        return (
            self._account_errors >= MAX_ACCOUNT_ERRORS
            or (isinstance(error, CheckFaultError) and error.exit_code == USAGE)
            or (isinstance(error, BudgetExceededError) and not error.of_request)
            or (error.exit_code == TRY_LATER and max(outage_s, retry_after_s(error)) > MAX_OUTAGE_S)
        )


def is_temporary(error: LLMRouteError) -> bool:
    """Whether a retry may succeed within the longest outage."""
    return error.exit_code == TRY_LATER and retry_after_s(error) <= MAX_OUTAGE_S


def retry_after_s(error: LLMRouteError) -> float:
    """Return the wait in seconds that a provider requested; 0 where attempts failed for different reasons."""
    if isinstance(error, AllProvidersFailedError) and len({attempt.error for attempt in error.attempts}) > 1:
        return 0.0
    return getattr(error, "retry_after_s", None) or 0.0
