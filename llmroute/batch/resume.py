"""What is known of the ids of a batch: what earlier runs have left in the file of results, and which have been met."""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.batch.id_index import IdIndex
from llmroute.errors import RequestError
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What the table says of an id: that this run has met it, or where its line of an earlier run is, and of which kind.
_MET = 2**64 - 1
_ANSWERED, _FAILED = 0, 1


class PriorResult(NamedTuple):
    """The line that earlier runs have left of a request: where it begins in the file, and whether it is an answer."""

    offset: int
    answered: bool


class PriorResults:
    """The ids of a batch, by what is known of each."""

    def __init__(self) -> None:
        self._ids = IdIndex()
        # The lines of others, which stay in front.
        self._others = array("Q")
        self._cost_picousd = 0

    @property
    def cost_usd(self) -> float:
        """What all lines of earlier runs say that they cost."""
        return self._cost_picousd / PICO_PER_USD

    def learn(self, offset: int, told: dict[str, Any] | None) -> None:
        """Take in a line of earlier runs; None is one that cannot be read."""
        self._cost_picousd += _cost_picousd(told)
        key = told.get("id") if told else None
        if told is not None and "line" in told:
            # Of a line that was no request, which is told anew if it still is none.
            return
        if told is None or not isinstance(key, str | int):
            # Not of this program's making: it is left alone.
            self._others.append(offset)
        elif "content" in told:
            self._ids.put(key, offset << 1 | _ANSWERED)
        elif (known := self._ids.get(key)) is None or known & 1 == _FAILED:
            self._ids.put(key, offset << 1 | _FAILED)

    def meet(self, key: str | int) -> PriorResult | None:
        """Take note of a request of the input; return what earlier runs have left of it.

        Raises:
            RequestError: this input has had that id before.
        """
        known = self._ids.get(key)
        if known == _MET:
            told = json.dumps(key, ensure_ascii=False)
            raise RequestError(f"the id {told} has been used before in this input")
        self._ids.put(key, _MET)
        return None if known is None else PriorResult(known >> 1, known & 1 == _ANSWERED)

    def unmet(self) -> list[int]:
        """Return where the lines are that this input has nothing to do with, in their order."""
        return sorted([*self._others, *(value >> 1 for value in self._ids.values() if value != _MET)])


def left_in(path: Path) -> PriorResults:
    """Return what earlier runs have left in a file of results, which stays as it is; without a file there is nothing.

    Raises:
        RequestError: it cannot be read.
    """
    known = PriorResults()
    offset = 0
    try:
        with path.open("rb") as file:
            for raw in file:
                known.learn(offset, read(raw))
                offset += len(raw)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    return known


def read(raw: bytes) -> dict[str, Any] | None:
    """Return what a line of results says, None where it is none."""
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def cost_usd(told: dict[str, Any] | None) -> float:
    """Return what a line says that its request has cost, all its attempts of all runs together."""
    return _cost_picousd(told) / PICO_PER_USD


def _cost_picousd(told: dict[str, Any] | None) -> int:
    if told is None:
        return 0
    spent = _picousd(told.get("cost_before_usd")) or 0
    if (cost := _picousd(told.get("cost_usd"))) is not None:
        return spent + cost
    error = told.get("error")
    return spent + sum(_costs(error.get("attempts") if isinstance(error, dict) else told.get("attempts")))


def _costs(attempts: object) -> Iterator[int]:
    for attempt in attempts if isinstance(attempts, list) else ():
        yield (_picousd(attempt.get("cost_usd")) if isinstance(attempt, dict) else None) or 0


def _picousd(usd: object) -> int | None:
    """Return an amount as the ledger counts it, so that sums are exact; None where it is none."""
    return round(usd * PICO_PER_USD) if isinstance(usd, int | float) and math.isfinite(usd) else None
