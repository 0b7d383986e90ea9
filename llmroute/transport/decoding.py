"""The body of a response: within bounds whatever its server sends, and with nothing left behind on its connection."""

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
    """How a body is to be read: counted, and in small pieces where it is compressed although identity was asked for."""

    def __init__(self, response: httpx.Response, *, any_size: bool = False) -> None:
        """Read how the body is encoded; with `any_size` it is not limited.

        Raises:
            BadOutputError: in another way than gzip or deflate, once; what that decodes to has no bound.
        """
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "x-gzip":
            response.headers["content-encoding"] = encoding = "gzip"
        if encoding not in (*_IDENTITY, "gzip", "deflate"):
            told = encoding if _NAME.fullmatch(encoding) else "what has no name"
            raise BadOutputError(f"the answer is encoded as {told}, which was not requested")
        self._piece_bytes = None if encoding in _IDENTITY else _PIECE_BYTES
        self._members = _Members() if encoding == "gzip" else None
        if self._members is not None:
            # It is undone here, for httpx reads the first of several members only.
            del response.headers["content-encoding"]
        self._most_bytes = inf if any_size else MAX_BODY_BYTES
        self._size = 0

    def pieces(self, piece: bytes) -> Iterator[bytes]:
        """Cut a piece of the body as it came, and undo gzip.

        Raises:
            httpx.DecodingError: it is no gzip.
        """
        if self._piece_bytes is None:
            yield piece
            return
        for start in range(0, len(piece), self._piece_bytes):
            part = piece[start : start + self._piece_bytes]
            yield part if self._members is None else self._members.decode(part)

    def count(self, piece: bytes) -> bytes:
        """Return a piece of the decoded body.

        Raises:
            BadOutputError: the body is larger than MAX_BODY_BYTES.
        """
        self._size += len(piece)
        if self._size > self._most_bytes:
            raise BadOutputError(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
        return piece


class _Members:
    """Undoes gzip of one member after another (RFC 1952, section 2.2); what follows the last is passed over."""

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
    """A stream within its bounds; `at_end` is called before its connection may be used again."""

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


def holds_unasked_bytes(stream: Any) -> bool:
    """Whether a connection has brought more than the response, which httpcore would read as the next one.

    httpcore closes a connection on which something arrives while it is idle, but not one where it came together with
    the end of the response; only its HTTP/1.1 parser knows (`h11.Connection.trailing_data`), which no public attribute
    leads to.  Other transports have no such parser, and say no.
    """
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        stream = getattr(stream, name, None)
    return stream is not None and bool(stream.trailing_data[0])
