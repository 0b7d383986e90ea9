"""Reads an answer that was asked for as a stream: the stream, or the whole answer that a server sends in its place."""

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
    """A `StreamReader` that tells by the first bytes what it reads.

    `is_whole` says of the beginning of a body, which is not blank, whether it is one JSON object; None is "not known
    yet".  `parse` reads such a body.
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
        """Whether the terminator has been read: what follows does not matter."""
        return self._streamed.done

    @property
    def so_far(self) -> Completion:
        """What is known of the answer at this point."""
        return self._streamed.so_far

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes; return what they completed.

        What came before an error in the same bytes is returned; the error is raised by the next call.
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
        """Say that the bytes have ended; return the whole answer."""
        if self._failed is not None:
            raise self._failed
        if self._whole and self._undecided:
            self._undecided = False
            undecided, self._whole = b"".join(self._whole), []
            self._streamed.feed(undecided)
        return self._parse(b"".join(self._whole)) if self._whole else self._streamed.finish()

    def _sorted(self, data: bytes) -> bytes:
        """Keep bytes of a whole answer, or of a beginning that may be one; return those of a stream."""
        self._whole.append(data)
        if not self._undecided:
            return b""
        begun = b"".join(self._whole)
        beginning = begun.removeprefix(_BOM).lstrip()
        if not beginning:
            # Blanks mean nothing to either.
            self._whole = []
            return begun
        whole = self._is_whole(beginning)
        if whole is None:
            return b""
        self._undecided = False
        self._whole = [begun] if whole else []
        return b"" if whole else begun


def no_event(beginning: bytes) -> bool:
    """Whether a body that should be server-sent events begins as JSON: no line of those begins with a brace."""
    return beginning.startswith(b"{")


def no_line(beginning: bytes) -> bool | None:
    """Whether a body that should be JSON on each line is one object over several: its first line is a brace alone."""
    line, ended, _ = beginning.partition(b"\n")
    if len(line) > _LONGEST_FIRST_LINE or line.strip() != b"{":
        return False
    return True if ended else None
