"""Results of earlier runs, read from the results file, and the ids that the input of this run has used."""

from __future__ import annotations

import json
import math
from array import array
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from llmroute.batch.id_index import IdIndex
from llmroute.errors import RequestError
from llmroute.types import PICO_PER_USD, as_picousd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The index has `_REGISTERED` for an id that this input has used, else twice the offset of its earlier line, plus one
# if that is a failure.
_REGISTERED = 2**64 - 1


class PriorResult(NamedTuple):
    """The line that earlier runs wrote for a request: its offset, whether it answers, and a failure's cost.

    `attempt_id` is the `request_id` of a failure that cost something, where its record has one.
    """

    offset: int
    answered: bool
    failure_cost_usd: float
    attempt_id: str | None


class ResultLine(NamedTuple):
    """A line of a results file: its offset, its bytes, and its JSON object, None if it is not one."""

    offset: int
    raw: bytes
    record: dict[str, Any] | None


class PriorResults:
    """The results of earlier runs by request id; a request is identified by its id alone."""

    def __init__(self) -> None:
        self._ids = IdIndex()
        # Offsets of lines that llmroute did not write.
        self._foreign = array("Q")
        # The costs of failures that are not 0, and their request ids, by offset.
        self._paid_failures: dict[int, tuple[int, str | None]] = {}
        self._cost_picousd = 0

    @property
    def cost_usd(self) -> float:
        """The cost of all lines of earlier runs."""
        return self._cost_picousd / PICO_PER_USD

    def add(self, line: ResultLine) -> None:
        """Add a line of earlier runs."""
        offset, _, record = line
        if record is None:
            self._foreign.append(offset)
            return
        paid_picousd = cost_picousd(record)
        self._cost_picousd += paid_picousd
        if "line" in record:
            # An invalid line of the input, which is reported again if it still is invalid.
            return
        request_id = record.get("id")
        if not isinstance(request_id, str | int):
            self._foreign.append(offset)
            return
        earlier = self._ids.get(request_id)
        if earlier is not None and earlier & 1 and "cost_before_usd" in record:
            # A killed run leaves lines whose cost is included in later ones.
            self._cost_picousd -= self._paid_failures.pop(earlier >> 1, (0, None))[0]
        if "content" in record:
            self._ids.put(request_id, offset << 1)
        elif earlier is None or earlier & 1:
            self._ids.put(request_id, offset << 1 | 1)
            if paid_picousd:
                attempt_id = record.get("request_id")
                self._paid_failures[offset] = paid_picousd, attempt_id if isinstance(attempt_id, str) else None

    def register(self, request_id: str | int) -> PriorResult | None:
        """Register a request of the input; return what earlier runs wrote for it.

        Raises:
            RequestError: the input has used this id before.
        """
        earlier = self._ids.get(request_id)
        if earlier == _REGISTERED:
            name = json.dumps(request_id, ensure_ascii=False)
            raise RequestError(f"the id {name} is used by an earlier line")
        self._ids.put(request_id, _REGISTERED)
        if earlier is None:
            return None
        offset = earlier >> 1
        paid_picousd, attempt_id = self._paid_failures.get(offset, (0, None))
        return PriorResult(offset, not earlier & 1, paid_picousd / PICO_PER_USD, attempt_id)

    def unrelated_offsets(self) -> list[int]:
        """Return the offsets of the lines that do not belong to a request of this input, in their order."""
        return sorted([*self._foreign, *(value >> 1 for value in self._ids.values() if value != _REGISTERED)])


def result_lines(file: IO[bytes]) -> Iterator[ResultLine]:
    """Yield the lines of a results file."""
    offset = 0
    for raw in file:
        yield ResultLine(offset, raw, _parsed(raw))
        offset += len(raw)


def prior_results(path: Path) -> PriorResults:
    """Return the results in a file, none if it does not exist.  The file is not changed.

    Raises:
        RequestError: it cannot be read.
    """
    prior = PriorResults()
    try:
        with path.open("rb") as file:
            for line in result_lines(file):
                prior.add(line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    return prior


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def cost_picousd(record: dict[str, Any]) -> int:
    """Return the cost of a request according to its record: all attempts of all runs."""
    before = _picousd(record.get("cost_before_usd")) or 0
    if (cost := _picousd(record.get("cost_usd"))) is not None:
        return before + cost
    error = record.get("error")
    attempts = error.get("attempts") if isinstance(error, dict) else record.get("attempts")
    costs = [each.get("cost_usd") for each in attempts if isinstance(each, dict)] if isinstance(attempts, list) else []
    return before + sum(_picousd(cost) or 0 for cost in costs)


def _picousd(usd: object) -> int | None:
    """Return an amount in the ledger's unit, so that sums are exact; None if it is not a finite number."""
    return as_picousd(usd) if isinstance(usd, int | float) and math.isfinite(usd) else None
