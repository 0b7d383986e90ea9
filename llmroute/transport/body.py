"""The body of an answer: counted, and undone where a server has packed it unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import BadOutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES = 64 * 1024 * 1024


class Body:
    """Counts a body, and undoes the gzip that some servers use unasked; neither may grow without bound."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._encoding = headers.get("content-encoding", "identity").strip().lower()
        self._size = 0
        self._inflater: Any = None
        if self._encoding in ("gzip", "x-gzip", "deflate"):
            import zlib

            self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def take(self, raw: bytes) -> bytes:
        """Return what the next bytes come to.

        Raises:
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is encoded otherwise than was asked for.
        """
        if self._inflater is not None:
            import zlib

            try:
                raw = self._inflater.decompress(raw, MAX_BODY_BYTES + 1 - self._size)
            except zlib.error as error:
                raise BadOutputError(f"the answer is not encoded as its headers say: {error}") from error
        elif self._encoding not in ("", "identity"):
            raise BadOutputError(f"the answer is encoded as {self._encoding[:40]}, which nobody asked for")
        self._size += len(raw)
        if self._size > MAX_BODY_BYTES:
            raise BadOutputError(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
        return raw

    def end(self) -> bytes:
        """Return the empty piece that ends the body.

        Raises:
            BadOutputError: what was packed ends too early.
        """
        if self._inflater is not None and self._size and not self._inflater.eof:
            raise BadOutputError("the answer is not encoded as its headers say: it ends too early")
        return b""
