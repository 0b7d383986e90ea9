"""How many calls to a provider may be under way at once: more while it answers, fewer when it says "too many"."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from llmroute.errors import CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

# A queue on this machine gains nothing from being long; it may still grow to the limit.
FIRST_LOCAL = 4
ROUNDS_TO_MOST = 8
# Who is told to wait longer asks somebody else, or gives up.
LONGEST_PAUSE_S = 300.0


class ProviderLimit:
    """The calls to one provider: additive increase, multiplicative decrease, as TCP shares a line (RFC 5681).

    `limit` grows by an eighth of `most` for each round of calls that were answered.  It is halved by a 429 of a call
    that began after it was last halved: the others of the same burst say nothing new.  Times are seconds of a clock
    that only goes on.
    """

    def __init__(self, most: int, first: int) -> None:
        self.most = most
        self.limit = float(min(first, most))
        self._step = max(most / ROUNDS_TO_MOST, 1.0)
        self.under_way = 0
        self.paused_until_s = 0.0
        self._halved_at_s = float("-inf")

    def has_room(self, now_s: float) -> bool:
        """Whether one more call may begin."""
        return self.under_way < int(self.limit) and now_s >= self.paused_until_s

    def enter(self) -> None:
        """Count a call that begins."""
        self.under_way += 1

    def leave(self) -> None:
        """Count a call that has ended."""
        self.under_way -= 1

    def praise(self) -> None:
        """Learn that a call was answered."""
        self.limit = min(self.limit + self._step / self.limit, self.most)

    def blame(self, began_s: float, now_s: float, retry_after_s: float | None) -> None:
        """Learn that a call was one too many, and when the provider wants to be asked again."""
        if began_s > self._halved_at_s:
            self.limit = max(self.limit / 2, 1.0)
            self._halved_at_s = now_s
        self.paused_until_s = max(self.paused_until_s, now_s + (retry_after_s or 0.0))


class ConcurrencyLimiter:
    """Lets calls to each provider through as its lane has room; those that wait keep their order."""

    def __init__(self, most: int, is_local: Callable[[str], bool]) -> None:
        """`most` is the number of calls to one provider that are never exceeded."""
        self._most = most
        self._is_local = is_local
        self._lanes: dict[str, ProviderLimit] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def lane(self, provider: str) -> ProviderLimit:
        """Return the lane of a provider."""
        if provider not in self._lanes:
            first = FIRST_LOCAL if self._is_local(provider) else self._most
            self._lanes[provider] = ProviderLimit(self._most, first)
            self._waiting[provider] = deque()
        return self._lanes[provider]

    def has_room(self, provider: str) -> bool:
        """Whether a call to the provider could begin now."""
        return self.lane(provider).has_room(asyncio.get_running_loop().time())

    async def enter(self, provider: str) -> None:
        """Wait until one more call to the provider may begin, and count it.

        Raises:
            RestingError: the provider wants to be left alone for longer than anybody would wait.
        """
        self._refuse_long_pause(provider)
        lane, loop = self.lane(provider), asyncio.get_running_loop()
        waiting = self._waiting[provider]
        if not waiting and lane.has_room(loop.time()):
            lane.enter()
            return
        turn = loop.create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(provider)
            raise

    def _refuse_long_pause(self, provider: str) -> None:
        pause_s = self.lane(provider).paused_until_s - asyncio.get_running_loop().time()
        if pause_s > LONGEST_PAUSE_S:
            raise _resting(pause_s)

    def leave(self, provider: str) -> None:
        """Count a call that has ended, and let the next one in."""
        self.lane(provider).leave()
        self._let_in(provider)

    def turn_away(self) -> None:
        """Cancel every task that waits to enter."""
        for waiting in self._waiting.values():
            for turn in waiting:
                turn.cancel()
            waiting.clear()

    def praise(self, provider: str) -> None:
        """Learn that a call to the provider was answered."""
        self.lane(provider).praise()

    def blame(self, provider: str, began_s: float, retry_after_s: float | None) -> None:
        """Learn that a call to the provider, begun at a time of the loop's clock, was one too many."""
        lane, loop = self.lane(provider), asyncio.get_running_loop()
        lane.blame(began_s, loop.time(), retry_after_s)
        if lane.paused_until_s - loop.time() > LONGEST_PAUSE_S:
            for turn in self._waiting[provider]:
                if not turn.done():
                    turn.set_exception(_resting(lane.paused_until_s - loop.time()))
            self._waiting[provider].clear()
        # A moment later, for timers may fire a moment early.
        loop.call_at(lane.paused_until_s + 0.001, self._let_in, provider)

    def _let_in(self, provider: str) -> None:
        """Let in as many of those who wait as there is room for; each is counted at once."""
        lane, waiting = self.lane(provider), self._waiting[provider]
        now_s = asyncio.get_running_loop().time()
        while waiting and lane.has_room(now_s):
            turn = waiting.popleft()
            if not turn.done():
                lane.enter()
                turn.set_result(None)


def _resting(pause_s: float) -> CircuitOpenError:
    error = CircuitOpenError(f"it wants to be left alone for {pause_s:.0f} s")
    error.retry_after_s = pause_s
    return error
