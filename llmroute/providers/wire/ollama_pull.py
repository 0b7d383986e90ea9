"""Reads the progress of a pull: Ollama's /api/pull sends one object per line, errors too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmroute.errors import ModelGoneError
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.line_decoder import LineDecoder

if TYPE_CHECKING:
    from llmroute.providers.errors.parser import ErrorParser

LIBRARY = "see the models at https://ollama.com/library"
MOST_STATUS = 200
_MAX_BYTES = 10**15


@dataclass(frozen=True, slots=True)
class PullProgress:
    """The current step, and the bytes of all layers known so far: received and total.

    `total` is 0 while no layer is known.
    """

    status: str
    completed: int = 0
    total: int = 0


class PullReader:
    """Reads lines until the status `success`."""

    def __init__(self, faults: ErrorParser) -> None:
        self._faults = faults
        self._decoder = LineDecoder()
        self._layers: dict[str, tuple[int, int]] = {}
        self._done = False

    def feed(self, data: bytes) -> list[PullProgress]:
        """Process the next bytes; return the progress in them.

        Raises:
            AttemptError: the pull failed.
        """
        return [self._read(line) for line in self._decoder.feed(data) if line.strip()]

    def finish(self) -> None:
        """Process the end of the bytes.

        Raises:
            AttemptError: the pull failed, or was interrupted.
        """
        if line := self._decoder.finish().strip():
            self._read(line)
        if not self._done:
            raise self._faults.unreadable("the pull was interrupted; run it again to resume it")

    def _read(self, line: str) -> PullProgress:
        try:
            event = lenient_json.mapping(lenient_json.read(line))
        except ValueError:
            raise self._faults.unreadable("a line of the pull is not JSON") from None
        if event.get("error"):
            raise self._failure(event)
        status = lenient_json.text(event.get("status"))
        self._done = status == "success"
        digest = lenient_json.text(event.get("digest"))
        if digest and (total := _bytes(event.get("total"))):
            self._layers[digest] = min(_bytes(event.get("completed")), total), total
        here, known = (sum(layer[at] for layer in self._layers.values()) for at in (0, 1))
        return PullProgress(self._faults.redaction.line(status, MOST_STATUS), here, known)

    def _failure(self, event: dict[str, Any]) -> Exception:
        error = self._faults.in_band(event)
        if not isinstance(error, ModelGoneError):
            return error
        return ModelGoneError("no such model in Ollama's library", provider=error.provider, hint=LIBRARY)


def _bytes(value: object) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_BYTES
    return value if known and isinstance(value, int) else 0
