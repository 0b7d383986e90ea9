"""Buffer for the chunks of a streamed answer that the caller must not see yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Snapshot(NamedTuple):
    """The buffered chunks, and the characters of all text so far."""

    chunks: list[str]
    length: int


class StreamBuffer:
    """Buffers blank chunks at the beginning of an answer, and with `atomic` all chunks until the answer is complete.

    Attributes:
        started: any text has arrived from the provider.
        released: text was released to the caller, so that no other model can stand in.
    """

    def __init__(self, *, atomic: bool) -> None:
        self._atomic = atomic
        self._chunks: list[str] = []
        self._length = 0
        self.started = False
        self.released = False

    def add(self, text: str) -> None:
        """Buffer the next chunk; the first one that is not blank releases the buffer, unless the answer is atomic."""
        self.started = True
        self._length += len(text)
        self._chunks.append(text)
        if not (self._atomic or text.isspace()):
            self.released = True

    def remainder(self, text: str) -> str:
        """Return the part of the complete answer that did not arrive as chunks."""
        return text[self._length :]

    def drain(self) -> Iterator[str]:
        """Yield and remove the buffered chunks."""
        while self._chunks:
            yield self._chunks.pop(0)

    def reset(self) -> Snapshot:
        """Prepare for another answer; return the state for `restore`."""
        snapshot = Snapshot(self._chunks, self._length)
        self._chunks, self._length = [], 0
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Return to the answer before `reset`."""
        self._chunks, self._length = snapshot
