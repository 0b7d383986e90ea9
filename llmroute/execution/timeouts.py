"""Timeouts of one attempt: its share of the request's time, and the limit of each wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import ProviderTimeoutError

if TYPE_CHECKING:
    from llmroute.execution.request import RequestContext

LEAST_WAIT_S = 0.001
LEAST_SHARE_S = 0.2
# A timeout of an attempt with less time than this is no evidence about its provider.
REPORTING_S = 1.0


class AttemptTime:
    """Bounds the waits of an attempt by what the request has left; times are those of the request's clock.

    While a candidate is left to fall back to, all waits together may take half of what was left at the beginning, or
    the whole where half is next to nothing.
    With `is_last`, which is set once text of the answer was shown, there is nothing to fall back to.
    """

    def __init__(self, request: RequestContext, *, alone: bool) -> None:
        self._request = request
        self._began_s = request.clock.started_s
        self._handing_over_s = 0.0
        self.is_last = alone

    def begin(self) -> None:
        """Begin to count, once the attempt has begun in the ledger."""
        self._began_s = self._request.clock()

    def exclude(self, seconds: float) -> None:
        """Exclude the time that the caller took to consume text."""
        self._handing_over_s += seconds

    @property
    def left_s(self) -> float:
        """How much of the request's time is left."""
        return self._ends_s() - self._request.clock()

    @property
    def was_short(self) -> bool:
        """Whether the attempt had too little time to say anything of its provider."""
        return self._share_ends_s() - self._began_s < REPORTING_S

    def opening_s(self, wait_s: float) -> tuple[float, float]:
        """Return how long to connect at most, and then to wait for the head of a reply: together at most `wait_s`."""
        # A sender takes at most both together: to connect is part of the wait, not beside it.
        in_all_s = max(min(wait_s, self._share_s()), LEAST_WAIT_S)
        connect_s = min(self._request.timeouts.connect_s, in_all_s)
        return connect_s, in_all_s - connect_s

    def reading_s(self, by_s: float, limit_s: float) -> float:
        """Return how long to read on: until `by_s`, when nothing has come for `limit_s`.

        Raises:
            ProviderTimeoutError: that time is over, or the attempt's, however much comes.
        """
        left_s, share_s = by_s - self._request.clock(), self._share_s()
        if left_s <= 0:
            raise ProviderTimeoutError(f"nothing of an answer came for {limit_s:.3g} s")
        if share_s <= 0:
            raise ProviderTimeoutError(f"no whole answer within {self._request.clock() - self._began_s:.3g} s")
        return max(min(left_s, share_s), LEAST_WAIT_S)

    def _ends_s(self) -> float:
        return self._request.clock.started_s + self._request.timeouts.total_s

    def _share_ends_s(self) -> float:
        half_s = (self._ends_s() - self._began_s) / 2
        # A half in which no model answers would be paid for all the same.
        return self._ends_s() if self.is_last or half_s < LEAST_SHARE_S else self._began_s + half_s

    def _share_s(self) -> float:
        return self._share_ends_s() + self._handing_over_s - self._request.clock()
