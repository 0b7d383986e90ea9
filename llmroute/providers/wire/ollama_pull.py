"""Reads how a pull goes on: Ollama's /api/pull says it in an object on each line, errors too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmroute.errors import ModelGoneError
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.line_decoder import LineDecoder

if TYPE_CHECKING:
    from llmroute.providers.errors.parser import ErrorParser

LIBRARY = "https://ollama.com/library lists what there is"
MOST_STATUS = 200
_MAX_BYTES = 10**15


@dataclass(frozen=True, slots=True)
class PullProgress:
    """What is being done, and the bytes of all layers that are known so far: those that are here, and how many.

    `total` is 0 while no layer is known.
    """

    status: str
    completed: int = 0
    total: int = 0


class PullReader:
    """Reads lines until one says `success`."""

    def __init__(self, faults: ErrorParser) -> None:
        self._faults = faults
        self._decoder = LineDecoder()
        self._layers: dict[str, tuple[int, int]] = {}
        self._done = False

    def feed(self, data: bytes) -> list[PullProgress]:
        """Take the next bytes; return what they tell.

        Raises:
            AttemptError: the pull failed.
        """
        return [self._read(line) for line in self._decoder.feed(data) if line.strip()]

    def finish(self) -> None:
        """Say that the bytes have ended.

        Raises:
            AttemptError: the pull failed, or broke off.
        """
        if line := self._decoder.finish().strip():
            self._read(line)
        if not self._done:
            raise self._faults.unreadable("the pull broke off; once more goes on where it was")

    def _read(self, line: str) -> PullProgress:
        try:
            told = lenient_json.mapping(lenient_json.read(line))
        except ValueError:
            raise self._faults.unreadable("a line of the pull is not JSON") from None
        if told.get("error"):
            raise self._failure(told)
        status = lenient_json.text(told.get("status"))
        self._done = status == "success"
        digest = lenient_json.text(told.get("digest"))
        if digest and (total := _bytes(told.get("total"))):
            self._layers[digest] = min(_bytes(told.get("completed")), total), total
        here, known = (sum(layer[at] for layer in self._layers.values()) for at in (0, 1))
        return PullProgress(self._faults.redaction.line(status, MOST_STATUS), here, known)

    def _failure(self, told: dict[str, Any]) -> Exception:
        error = self._faults.in_band(told)
        if "manifest" not in error.message or "does not exist" not in error.message:
            return error
        return ModelGoneError("there is no such model to pull", provider=error.provider, hint=LIBRARY)


def _bytes(value: object) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_BYTES
    return value if known and isinstance(value, int) else 0
