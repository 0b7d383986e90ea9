"""A streamed answer: its chunks are read, kept while the caller must not see them yet, and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.execution.operations import Emit, Read

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from llmroute.execution.accounting.recorder import AttemptRecorder
    from llmroute.execution.operations import Operation
    from llmroute.execution.request import RequestContext
    from llmroute.execution.timeouts import AttemptTime
    from llmroute.providers import StreamReader
    from llmroute.types import Completion


class Snapshot(NamedTuple):
    """The buffered chunks, and the characters of all text so far."""

    chunks: list[str]
    length: int


class StreamBuffer:
    """Buffers blank chunks at the beginning of an answer, and with `atomic` all chunks until the answer is complete.

    Attributes:
        started: any text has arrived from the provider.
        released: text was released to the caller, so that no fallback is possible.
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


class AnswerStream:
    """Reads the streamed answer of one attempt, and emits its text once the caller may see it.

    Attributes:
        buffer: the text that has not been emitted.
        reader: the reader of the answer, None before its beginning.
    """

    def __init__(self, request: RequestContext, time: AttemptTime, recorder: AttemptRecorder) -> None:
        self._request = request
        self._time = time
        self._recorder = recorder
        self.buffer = StreamBuffer(atomic=request.atomic)
        self.reader: StreamReader | None = None

    def read(self, reader: StreamReader, first_token_s: float) -> Generator[Operation, Any, Completion]:
        """Read to the end of the answer; its first chunk may take `first_token_s`.

        Raises:
            AttemptError: the answer has an error, also in its middle, is malformed, or stalls.
        """
        request = self._request
        self.reader = reader
        # Comments and empty events are no part of the answer and do not extend the limit.
        limit_s, by_s = first_token_s, request.clock() + first_token_s
        while not reader.done:
            data = yield Read(self._time.reading_s(by_s, limit_s))
            if not data:
                break
            # Line by line, so that text is emitted before an error that arrived in the same read.
            for line in data.splitlines(keepends=True):
                for chunk in reader.feed(line):
                    limit_s = request.timeouts.stall_s
                    yield from self._add(chunk.text)
                    by_s = request.clock() + limit_s
        completion = reader.finish()
        yield from self._add(self.buffer.remainder(completion.text))
        return completion

    def _add(self, text: str) -> Generator[Operation, Any, None]:
        """Buffer a chunk of the answer, and emit the buffer if the caller may see it."""
        if not text:
            return
        if not self.buffer.started:
            self._recorder.mark_first_token()
        self.buffer.add(text)
        if self.buffer.released:
            self._time.is_last = True
            yield from self.emit()

    def emit(self) -> Generator[Operation, Any, None]:
        """Emit the buffered text to the caller, whose own time is not counted as the provider's."""
        began_s = self._request.clock()
        for chunk in self.buffer.drain():
            yield Emit(chunk)
        self._time.exclude(self._request.clock() - began_s)
