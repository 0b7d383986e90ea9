"""Concurrency limits per provider: raised while it answers, halved when it reports a rate limit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from llmroute.errors import CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

# A local server gains little from a long queue; its limit may still grow.
INITIAL_LOCAL_LIMIT = 4
ROUNDS_TO_MAXIMUM = 8
# Requests fail over instead of waiting longer.
MAX_PAUSE_S = 300.0


class ProviderLimit:
    """The concurrent calls to one provider: additive increase, multiplicative decrease, as TCP does (RFC 5681).

    `limit` grows by an eighth of `maximum` for each round of answered calls.  It is halved by the 429 of a call that
    began after the last halving: other calls of the same burst carry no new information.  `waiters` are the calls that
    wait for their turn.  Times are seconds of a monotonic clock.
    """

    def __init__(self, maximum: int, initial: int) -> None:
        self.limit = float(min(initial, maximum))
        self.in_flight = 0
        self.paused_until_s = 0.0
        self.waiters: deque[asyncio.Future[None]] = deque()
        self._maximum = maximum
        self._step = max(maximum / ROUNDS_TO_MAXIMUM, 1.0)
        self._halved_at_s = float("-inf")

    def has_room(self, now_s: float) -> bool:
        """Whether one more call may begin."""
        return self.in_flight < int(self.limit) and now_s >= self.paused_until_s

    def record_success(self) -> None:
        """Raise the limit after an answer."""
        self.limit = min(self.limit + self._step / self.limit, self._maximum)

    def record_rate_limit(self, started_s: float, now_s: float, retry_after_s: float | None) -> None:
        """Lower the limit after a 429, and pause for the time that the provider requested."""
        if started_s > self._halved_at_s:
            self.limit = max(self.limit / 2, 1.0)
            self._halved_at_s = now_s
        self.paused_until_s = max(self.paused_until_s, now_s + (retry_after_s or 0.0))


class ConcurrencyLimiter:
    """Admits calls to each provider within its limit, in the order of their arrival."""

    def __init__(self, maximum: int, is_local: Callable[[str], bool]) -> None:
        """`maximum` is the most concurrent calls to one provider; `is_local` says whether it is on this machine."""
        self._maximum = maximum
        self._is_local = is_local
        self._limits: dict[str, ProviderLimit] = {}

    def limit(self, provider: str) -> ProviderLimit:
        """Return the limit of a provider."""
        if provider not in self._limits:
            initial = INITIAL_LOCAL_LIMIT if self._is_local(provider) else self._maximum
            self._limits[provider] = ProviderLimit(self._maximum, initial)
        return self._limits[provider]

    def has_room(self, provider: str) -> bool:
        """Whether a call to the provider could begin now."""
        return self.limit(provider).has_room(_now_s())

    async def acquire(self, provider: str) -> None:
        """Wait until one more call to the provider may begin, and count it.

        Raises:
            CircuitOpenError: the provider's rate limit lasts longer than MAX_PAUSE_S.
        """
        limit = self.limit(provider)
        if (pause_s := limit.paused_until_s - _now_s()) > MAX_PAUSE_S:
            raise _rate_limited(pause_s)
        if not limit.waiters and limit.has_room(_now_s()):
            limit.in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        limit.waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(provider)
            raise

    def release(self, provider: str) -> None:
        """Count a call that has ended, and admit the next one."""
        self.limit(provider).in_flight -= 1
        self._admit(provider)

    def cancel_waiters(self) -> None:
        """Cancel every task in `acquire`."""
        for limit in self._limits.values():
            while limit.waiters:
                limit.waiters.popleft().cancel()

    def record_rate_limit(self, provider: str, started_s: float, retry_after_s: float | None) -> None:
        """Lower the limit of a provider after a 429 of a call that began at `started_s` of the loop's clock."""
        limit, now_s = self.limit(provider), _now_s()
        limit.record_rate_limit(started_s, now_s, retry_after_s)
        if (pause_s := limit.paused_until_s - now_s) > MAX_PAUSE_S:
            while limit.waiters:
                if not (turn := limit.waiters.popleft()).done():
                    turn.set_exception(_rate_limited(pause_s))
        # A millisecond later, because timers may fire early.
        asyncio.get_running_loop().call_at(limit.paused_until_s + 0.001, self._admit, provider)

    def _admit(self, provider: str) -> None:
        """Admit, and count, as many waiting calls as there is room for."""
        limit, now_s = self.limit(provider), _now_s()
        while limit.waiters and limit.has_room(now_s):
            if not (turn := limit.waiters.popleft()).done():
                limit.in_flight += 1
                turn.set_result(None)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _rate_limited(pause_s: float) -> CircuitOpenError:
    error = CircuitOpenError(f"skipped for {pause_s:.0f} s: rate limited")
    error.retry_after_s = pause_s
    return error
