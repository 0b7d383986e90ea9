"""Write attempts into the ledger in such a way that the ledger never costs an answer."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from llmroute.errors import LedgerError
from llmroute.registry.pricing import cost_picousd
from llmroute.routing.estimate import TYPICAL_OUTPUT_TOKENS, estimated_tokens
from llmroute.types import PICO_PER_USD, Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmroute.ledger.memory import Lesson, Prober, Recollection
    from llmroute.ledger.rows import AttemptRow
    from llmroute.ledger.store import Ledger
    from llmroute.types import Completion, Price

T = TypeVar("T")


class Bookkeeper:
    """Opens the ledger when the first attempt begins; what cannot be written is warned of once."""

    def __init__(self, path: Path, warn: Callable[[str], None], ledger: Ledger | None = None) -> None:
        self._path = path
        self._warn = warn
        self._ledger = ledger
        self._lent = ledger is not None
        self._lock = threading.Lock()
        self._warned = False

    def begin(self, row: AttemptRow, prober: Prober | None = None, *, retry: bool = False) -> None:
        """Write an attempt as pending.

        Raises:
            RestingError: another caller is trying just now whether the model is well again.
        """
        self._try(lambda ledger: ledger.begin(row, prober, retry=retry))

    def settle(self, row: AttemptRow, lesson: Lesson | None = None) -> None:
        """Write how an attempt ended and what it taught."""
        self._try(lambda ledger: ledger.settle(row, lesson))

    def recall(self, *, bucket: int, effort: str, now_ms: int) -> Recollection | None:
        """Return what calls have taught, None where there is no ledger to read."""
        if self._ledger is None and not self._path.exists():
            return None
        return self._try(lambda ledger: ledger.recall(bucket=bucket, effort=effort, now_ms=now_ms))

    def retry_allowed(self, provider: str, now_ms: int) -> bool:
        """Whether a provider has a retry left; nobody knows without a ledger."""
        return self._try(lambda ledger: ledger.retry_allowed(provider, now_ms)) is not False

    def ledger(self) -> Ledger:
        """Return the ledger, opening it when it is not open yet.

        Raises:
            LedgerError: it cannot be opened.
        """
        # Concurrent requests begin in threads of their own.
        with self._lock:
            if self._ledger is None:
                from llmroute.ledger.store import Ledger

                self._ledger = Ledger(self._path)
            return self._ledger

    def _try(self, use: Callable[[Ledger], T]) -> T | None:
        try:
            return use(self.ledger())
        except LedgerError as error:
            with self._lock:
                first, self._warned = not self._warned, True
            if first:
                self._warn(f"warning: this call is not in the ledger: {error.message}")
            return None

    def close(self) -> None:
        """Close the ledger if it was opened here; one that was lent stays open."""
        with self._lock:
            if self._ledger is not None and not self._lent:
                self._ledger.close()
                self._ledger = None


def price_as_json(price: Price | None) -> str | None:
    """Return the price as the ledger keeps it: pico-USD per token, without what is unknown."""
    if price is None:
        return None
    return json.dumps({key: value for key, value in asdict(price).items() if value not in (None, ())})


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
