"""The body of a response: limited in size, decoded, and with no unread bytes left on its connection."""

from __future__ import annotations

import re
import zlib
from math import inf
from typing import TYPE_CHECKING, Any

import httpx

from llmroute.errors import BadOutputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

MAX_BODY_BYTES = 64 * 1024 * 1024
_IDENTITY = ("", "identity")
_NAME = re.compile(r"[a-z0-9, -]{1,20}")
# Deflate expands a thousandfold at most: a piece of this size decodes to a megabyte.
_PIECE_BYTES = 1024
_MAGIC = b"\x1f\x8b"


class BodyLimits:
    """Reads a body: counted, and in small chunks where it is compressed although `identity` was requested."""

    def __init__(self, response: httpx.Response, *, any_size: bool = False) -> None:
        """Read the encoding from the headers; with `any_size` the size is not limited.

        Raises:
            BadOutputError: it is not gzip or deflate applied once, so the decoded size has no bound.
        """
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "x-gzip":
            response.headers["content-encoding"] = encoding = "gzip"
        if encoding not in (*_IDENTITY, "gzip", "deflate"):
            name = encoding if _NAME.fullmatch(encoding) else "an unknown format"
            raise BadOutputError(f"the answer is encoded as {name}, which was not requested")
        self._piece_bytes = None if encoding in _IDENTITY else _PIECE_BYTES
        self._members = _Members() if encoding == "gzip" else None
        if self._members is not None:
            # Decoded here, because httpx reads only the first of several gzip members.
            del response.headers["content-encoding"]
        self._most_bytes = inf if any_size else MAX_BODY_BYTES
        self._size = 0

    def pieces(self, piece: bytes) -> Iterator[bytes]:
        """Split a raw chunk of the body into small ones, and decode gzip.

        Raises:
            httpx.DecodingError: it is not gzip.
        """
        if self._piece_bytes is None:
            yield piece
            return
        for start in range(0, len(piece), self._piece_bytes):
            part = piece[start : start + self._piece_bytes]
            yield part if self._members is None else self._members.decode(part)

    def count(self, piece: bytes) -> bytes:
        """Return a chunk of the decoded body.

        Raises:
            BadOutputError: the body is larger than MAX_BODY_BYTES.
        """
        self._size += len(piece)
        if self._size > self._most_bytes:
            raise BadOutputError(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
        return piece


class _Members:
    """Decodes gzip members one after another (RFC 1952, section 2.2); bytes after the last are ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = b""

    def decode(self, part: bytes) -> bytes:
        decoded = b""
        try:
            while part:
                if self._member.eof:
                    part = self._begun + part
                    if len(part) < len(_MAGIC) and _MAGIC.startswith(part):
                        self._begun = part
                        break
                    if not part.startswith(_MAGIC):
                        break
                    self._begun, self._member = b"", zlib.decompressobj(zlib.MAX_WBITS | 16)
                decoded += self._member.decompress(part)
                part = self._member.unused_data
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error
        return decoded


class WatchedStream(httpx.SyncByteStream):
    """A stream with a size limit; `at_end` is called before its connection can be reused."""

    def __init__(self, stream: httpx.SyncByteStream, bounds: BodyLimits, at_end: Callable[[], None]) -> None:
        self._stream = stream
        self._bounds = bounds
        self._at_end = at_end

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            yield from self._bounds.pieces(piece)
        self._at_end()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class AsyncWatchedStream(httpx.AsyncByteStream):
    """As `WatchedStream`, for the event loop."""

    def __init__(
        self, stream: httpx.AsyncByteStream, bounds: BodyLimits, at_end: Callable[[], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._bounds = bounds
        self._at_end = at_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            for part in self._bounds.pieces(piece):
                yield part
        await self._at_end()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


def has_surplus_bytes(stream: Any) -> bool:
    """Whether a connection has received more than the response; httpcore would read the surplus as the next response.

    httpcore closes a connection on which something arrives while it is idle, but not one where it came together with
    the end of the response; only its HTTP/1.1 parser knows (`h11.Connection.trailing_data`), which no public attribute
    leads to.  For other transports, which have no such parser, the result is False.
    """
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        stream = getattr(stream, name, None)
    return stream is not None and bool(stream.trailing_data[0])
