"""Splits a stream of bytes into lines: UTF-8 is decoded by whole lines, and only CR, LF and CRLF end one."""

from __future__ import annotations

from llmroute.errors import BadOutputError

MAX_LINE_BYTES = 16 * 1024 * 1024


class LineDecoder:
    """Returns the lines that each part of a stream completes, in parts of any size."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._after_cr = False
        self._at_start = True

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes, without their ends.

        Raises:
            BadOutputError: a line is longer than 16 MiB.
        """
        if not data:
            return []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        self._after_cr = data[-1:] == b"\r" if data else False
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, newline, tail = data.rpartition(b"\n")
        if len(self._rest) + len(data) > MAX_LINE_BYTES:
            self._refuse_long_lines(data)
        if not newline:
            self._rest += tail
            return []
        whole = bytes(self._rest) + head if self._rest else head
        self._rest = bytearray(tail)
        return self._decode(whole).split("\n")

    def finish(self) -> str:
        """Return the text after the last line end."""
        whole, self._rest = bytes(self._rest), bytearray()
        return self._decode(whole)

    def _decode(self, whole: bytes) -> str:
        decoded = whole.decode("utf-8", "replace")
        if self._at_start:
            self._at_start = False
            return decoded.removeprefix("\ufeff")
        return decoded

    def _refuse_long_lines(self, data: bytes) -> None:
        lengths = [len(part) for part in data.split(b"\n")]
        if max(lengths[0] + len(self._rest), *lengths) > MAX_LINE_BYTES:
            self._rest.clear()
            raise BadOutputError("a line of the stream is longer than 16 MiB")
