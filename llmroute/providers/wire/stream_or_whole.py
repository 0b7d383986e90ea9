"""Reads the response to a streaming request: a stream, or a whole answer that the server sent instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import AttemptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.providers import StreamReader
    from llmroute.types import Chunk, Completion

_BOM = b"\xef\xbb\xbf"
_LONGEST_FIRST_LINE = 80


class StreamOrWholeReader:
    """A `StreamReader` that decides by the first bytes between the two.

    `is_whole` returns whether a body with this nonblank beginning is one JSON object; None is "not known yet". `parse`
    parses such a body.
    """

    def __init__(
        self,
        streamed: StreamReader,
        parse: Callable[[bytes], Completion],
        is_whole: Callable[[bytes], bool | None],
    ) -> None:
        self._streamed = streamed
        self._parse = parse
        self._is_whole = is_whole
        self._undecided = True
        self._whole: list[bytes] = []
        self._failed: AttemptError | None = None

    @property
    def done(self) -> bool:
        """Whether the terminator has been read; bytes after it are ignored."""
        return self._streamed.done

    @property
    def so_far(self) -> Completion:
        """The answer so far."""
        return self._streamed.so_far

    def feed(self, data: bytes) -> list[Chunk]:
        """Process the next bytes; return the chunks that they complete.

        Chunks before an error in the same bytes are returned, and the next call raises the error.
        """
        if self._failed is not None:
            raise self._failed
        if self._undecided or self._whole:
            data = self._sorted(data)
        chunks: list[Chunk] = []
        try:
            for line in data.splitlines(keepends=True):
                chunks += self._streamed.feed(line)
        except AttemptError as error:
            if not chunks:
                raise
            self._failed = error
        return chunks

    def finish(self) -> Completion:
        """Process the end of the bytes; return the whole answer."""
        if self._failed is not None:
            raise self._failed
        if self._whole and self._undecided:
            self._undecided = False
            undecided, self._whole = b"".join(self._whole), []
            self._streamed.feed(undecided)
        return self._parse(b"".join(self._whole)) if self._whole else self._streamed.finish()

    def _sorted(self, data: bytes) -> bytes:
        """Buffer the bytes of a whole answer, or of an undecided beginning; return those of a stream."""
        self._whole.append(data)
        if not self._undecided:
            return b""
        begun = b"".join(self._whole)
        beginning = begun.removeprefix(_BOM).lstrip()
        if not beginning:
            # Leading blanks are ignored in both.
            self._whole = []
            return begun
        whole = self._is_whole(beginning)
        if whole is None:
            return b""
        self._undecided = False
        self._whole = [begun] if whole else []
        return b"" if whole else begun


def begins_as_json(beginning: bytes) -> bool:
    """Whether a body that should be server-sent events begins as JSON: no line of those begins with a brace."""
    return beginning.startswith(b"{")


def begins_as_one_object(beginning: bytes) -> bool | None:
    """Whether a body that should have one JSON object per line is one object: its first line is a brace."""
    line, ended, _ = beginning.partition(b"\n")
    if len(line) > _LONGEST_FIRST_LINE or line.strip() != b"{":
        return False
    return True if ended else None
