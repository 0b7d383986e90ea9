"""Write attempts into the ledger in such a way that the ledger never costs an answer."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BudgetExceededError, LedgerError
from llmroute.registry.pricing import cost_picousd
from llmroute.routing.estimate import TYPICAL_OUTPUT_TOKENS, estimated_tokens
from llmroute.service.purse import Fitting
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from llmroute.config import Limit
    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.memory import Lesson, Prober, Recollection
    from llmroute.ledger.rows import AttemptRow
    from llmroute.ledger.store import Ledger
    from llmroute.routing.worst import WorstCase
    from llmroute.service.purse import Purse
    from llmroute.types import Completion, Price


class Beginning(NamedTuple):
    """What an attempt must be admitted by before it begins: the budget, and those who try again what was left alone."""

    worst: WorstCase | None
    purse: Purse
    prober: Prober | None = None
    retry: bool = False


class Bookkeeper:
    """Opens the ledger when the first attempt begins; what it cannot take goes to the spool, and is warned of once.

    `limits` are the caps that bind every call; with one in force nothing is sent that cannot be written first.
    """

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], None],
        ledger: Ledger | None = None,
        *,
        limits: Sequence[Limit] = (),
        wait_s: float = 10.0,
    ) -> None:
        self._path = path if ledger is None else ledger.path
        self._warn = warn
        self._given = ledger
        self._ledger: Ledger | None = None
        self._opening = threading.Lock()
        self._limits = tuple(limits)
        self._wait_s = wait_s
        self._warned = False
        # Attempts whose beginning is in the spool: their end must come after it.
        self._spooled: set[tuple[str, int]] = set()

    def begin(self, row: AttemptRow, how: Beginning) -> int | None:
        """Write an attempt as pending; return the longest answer that a budget leaves it, None when none cuts it.

        Raises:
            BudgetExceededError: its worst case does not fit, or a budget binds and the ledger cannot be written.
            RestingError: another caller is trying just now whether the model is well again.
        """
        limits = [limit for limit in self._limits if limit.workspace in ("", row.workspace)]
        if not limits and how.purse.left_picousd is None:
            try:
                self.ledger().begin(row, prober=how.prober, retry=how.retry)
            except LedgerError as error:
                self._spool(row, error)
            return None
        fitting = Fitting(f"{row.provider}/{row.model}", how.worst, how.purse)
        caps = current_caps(limits, row.started_ms)
        try:
            self.ledger().begin(row, caps, fitting.fit, prober=how.prober, retry=how.retry)
        except BudgetExceededError as refusal:
            raise fitting.refused(refusal) from None
        except LedgerError as error:
            self._let_go()
            raise BudgetExceededError(
                f"a budget is in force and cannot be kept: {error.message}; nothing was sent", hint=error.hint
            ) from error
        return fitting.max_tokens

    def settle(self, row: AttemptRow, lesson: Lesson | None = None) -> None:
        """Write how an attempt ended and what it taught."""
        if (row.request_id, row.attempt) in self._spooled:
            self._spooled.discard((row.request_id, row.attempt))
            self._spool(row, None)
            return
        try:
            self.ledger().settle(row, lesson)
        except LedgerError as error:
            self._spool(row, error)

    def recall(self, *, bucket: int, effort: str, now_ms: int) -> Recollection | None:
        """Return what calls have taught, None where there is no ledger to read."""
        if self._ledger is None and self._given is None and not self._path.exists():
            return None
        try:
            return self.ledger().recall(bucket=bucket, effort=effort, now_ms=now_ms)
        except LedgerError:
            # Whoever begins an attempt says so.
            return None

    def reset_breakers(self, provider: str) -> int:
        """Close every breaker of a provider; return how many there were.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        if self._ledger is None and self._given is None and not self._path.exists():
            return 0
        return self.ledger().reset_breakers(provider)

    def retry_allowed(self, provider: str, now_ms: int) -> bool:
        """Whether a provider has a retry left; nobody knows without a ledger."""
        try:
            return self.ledger().retry_allowed(provider, now_ms)
        except LedgerError:
            return True

    def ledger(self) -> Ledger:
        """Return the ledger, opening it when it is not open yet; what others left to do is done then.

        Raises:
            LedgerError: it cannot be opened.
        """
        with self._opening:
            if self._ledger is None:
                from llmroute.ledger.store import Ledger

                self._ledger = self._given or Ledger(self._path, busy_timeout_s=self._wait_s)
                try:
                    self._ledger.tend(time.time_ns() // 1_000_000)
                except BaseException:
                    self.close()
                    raise
            return self._ledger

    def _spool(self, row: AttemptRow, why: LedgerError | None) -> None:
        from llmroute.ledger import spool

        self._let_go()
        reason = "" if why is None else f": {why.message}"
        try:
            place = spool.keep(row, self._path)
        except OSError as error:
            if row.status != "pending":
                self._warn(f"warning: this call is in no ledger ({error.strerror}){reason}; it was {spool.told(row)}")
            return
        if row.status == "pending":
            self._spooled.add((row.request_id, row.attempt))
        if not self._warned:
            self._warned = True
            self._warn(f"warning: this call is not in the ledger yet, the next run takes it in from {place}{reason}")

    def _let_go(self) -> None:
        """Close a ledger that failed, so that the next attempt opens what is there then."""
        if self._given is None:
            self.close()

    def close(self) -> None:
        """Close the ledger if it was opened here; one that was lent stays open."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None and self._given is None:
            ledger.close()

    def leave(self) -> None:
        """As `close`, in a process that ends now."""
        if self._ledger is not None and self._given is None:
            self._ledger.leave()


def current_caps(limits: Sequence[Limit], now_ms: int) -> list[Cap]:
    """Return the caps in their windows of the user's own time zone."""
    if not limits:
        return []
    from datetime import datetime

    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.periods import milliseconds, window

    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    caps = []
    for limit in limits:
        begin, end = window(limit.period, now)
        caps.append(
            Cap(
                limit.period,
                limit.workspace,
                limit.cap_picousd,
                0 if begin is None else milliseconds(begin),
                None if end is None else milliseconds(end),
            )
        )
    return caps


def price_as_json(price: Price | None) -> str | None:
    """Return the price as the ledger keeps it: pico-USD per token, without what is unknown."""
    if price is None:
        return None
    told = price._asdict() | {"tiers": [tier._asdict() for tier in price.tiers]}
    return json.dumps({key: value for key, value in told.items() if value not in (None, [])})


def estimated_usage(expected_input_tokens: int, completion: Completion | None) -> Usage:
    """Return what a call has probably used when nobody told.

    `completion` is what came of it, None if nothing is known of that: an answer that was never seen is taken to have
    been written, since it may have to be paid for.
    """
    if completion is None:
        return Usage(input_tokens=expected_input_tokens, output_tokens=TYPICAL_OUTPUT_TOKENS, source="estimated")
    told = completion.usage
    written = estimated_tokens(completion.text + completion.thinking)
    return Usage(
        input_tokens=expected_input_tokens if told.input_tokens is None else told.input_tokens,
        cached_input_tokens=told.cached_input_tokens,
        cache_write_tokens=told.cache_write_tokens,
        output_tokens=max(written, told.output_tokens or 0),
        reasoning_tokens=told.reasoning_tokens,
        cache_write_1h_tokens=told.cache_write_1h_tokens,
        source="estimated",
    )


def cost_of(usage: Usage, price: Price | None) -> int | None:
    """Return pico-USD, None where the price or the usage is unknown."""
    return None if price is None else cost_picousd(usage, price)


def usd(picousd: int | None) -> float | None:
    """Return pico-USD as USD."""
    return None if picousd is None else picousd / PICO_PER_USD
