"""Read attachments: files, pipes, bytes and URLs."""

from __future__ import annotations

import os
import select
import stat
from pathlib import PurePath
from time import monotonic
from typing import TYPE_CHECKING, Final

from llmroute.attachments.content_type import measured, of_url, unusable
from llmroute.types import Attachment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.errors import RequestError
    from llmroute.types.attachment import AttachmentSource

MOST_BYTES: Final = 64 * 2**20
"""The largest attachment that is read; no provider takes a larger file."""
MOST_TOTAL_BYTES: Final = 512 * 2**20
"""The largest size of all attachments of a request together."""
SILENCE_S: Final = 10.0
"""How long a pipe may send nothing before it counts as endless."""
PIPE_S: Final = 60.0
"""How long a pipe may take to end."""
_PIECE_BYTES: Final = 2**20
_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    "data": (bytes, bytearray, memoryview),
    "url": (str,),
    "media_type": (str,),
    "name": (str,),
}


def read_all(sources: Iterable[AttachmentSource], media_type: str | None) -> tuple[Attachment, ...]:
    """Read attachments; those that have been read already stay as they are.

    Raises:
        RequestError: one cannot be read, is empty, too large or of an unknown type; the message names it.
    """
    found, total = [], 0
    for number, source in enumerate(sources, 1):
        found.append(_read(source, media_type, number))
        total += len(found[-1].data or b"")
        if total > MOST_TOTAL_BYTES:
            raise unusable(found[-1].facts.name, f"all attachments together are over {MOST_TOTAL_BYTES // 2**20} MiB")
    return tuple(found)


def is_url(text: str) -> bool:
    """Whether the name of an attachment is a URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def _read(source: AttachmentSource, media_type: str | None, number: int) -> Attachment:
    if isinstance(source, Attachment):
        return source if source.measured else _given(source, media_type, number)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source), f"attachment {number}", media_type)
    if isinstance(source, str) and is_url(source):
        return of_url(source, None, media_type)
    if not (path := os.fspath(source)):
        raise unusable(f"attachment {number}", "its path is empty")
    # Where the locale is not of UTF-8, Python keeps the bytes of a name beyond ASCII.
    name = os.fsencode(PurePath(path).name).decode("utf-8", "replace")
    return measured(read_file(path), name, media_type)


def _given(source: Attachment, media_type: str | None, number: int) -> Attachment:
    for field, kinds in _FIELDS.items():
        if not isinstance(value := getattr(source, field), (*kinds, type(None))):
            reason = f"its {field} is of type {type(value).__name__}, not {kinds[0].__name__}"
            raise unusable(f"attachment {number}", reason)
    if (source.data is None) == (source.url is None):
        raise unusable(source.name or f"attachment {number}", "an Attachment has either data or a URL")
    kind = source.media_type or media_type
    if source.url is not None:
        return of_url(source.url, source.name, kind)
    return _of_bytes(bytes(source.data or b""), source.name or f"attachment {number}", kind)


def _of_bytes(data: bytes, name: str, media_type: str | None) -> Attachment:
    if len(data) > MOST_BYTES:
        raise _too_large(name)
    return measured(data, name, media_type)


def read_file(path: str) -> bytes:
    """Return the content of a regular file, or of a pipe that ends.

    Raises:
        RequestError: it is missing, a directory or a device, too large, or cannot be read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise unusable(path, _reason(error)) from None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return read_to_end(lambda: os.read(fd, _PIECE_BYTES), path)
        if stat.S_ISFIFO(mode):
            until_s = monotonic() + PIPE_S
            return read_to_end(lambda: _read_pipe(fd, path, until_s), path)
    except OSError as error:
        raise unusable(path, _reason(error)) from None
    finally:
        os.close(fd)
    raise unusable(path, "it is a directory" if stat.S_ISDIR(mode) else "it is not a file")


def read_to_end(read: Callable[[], bytes], name: str) -> bytes:
    """Return the bytes that `read` returns until it returns nothing.

    Raises:
        RequestError: it is too large.
    """
    pieces, size = [], 0
    while piece := read():
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise _too_large(name)
    return b"".join(pieces)


def _read_pipe(fd: int, path: str, end_s: float) -> bytes:
    """Return the next bytes of a pipe; nothing at its end, or where it has no writer."""
    if monotonic() > end_s:
        raise unusable(path, f"it is a pipe that has not ended within {PIPE_S:.0f} s")
    until_s = monotonic() + SILENCE_S
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while (left_s := until_s - monotonic()) > 0:
        poller.poll(left_s * 1000)
        try:
            return os.read(fd, _PIECE_BYTES)
        except BlockingIOError:
            continue
    raise unusable(path, f"it is a pipe that has sent nothing for {SILENCE_S:.0f} s")


def _too_large(name: str) -> RequestError:
    return unusable(name, f"it is larger than {MOST_BYTES // 2**20} MiB")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
