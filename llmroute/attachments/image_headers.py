"""The width and height of an image, and whether it is animated, from its header.  Pure.

Each reader gets the complete file, and returns None where the header is damaged.
"""

from __future__ import annotations

import re
from struct import unpack_from
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
GIF: Final = "image/gif"
WEBP: Final = "image/webp"

# A single frame of the largest file has fewer blocks than this; a GIF with more counts as animated, a JPEG as damaged.
_MOST_BLOCKS: Final = 500_000
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC are tables and extensions.
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Any number of FF bytes may come before a marker.
_NO_PADDING: Final = re.compile(rb"[^\xff]")
# Markers without a length: TEM, RST0 to RST7, SOI.
_BARE_MARKERS: Final = frozenset([0x01, *range(0xD0, 0xD9)])
_GIF_EXTENSION: Final = 0x21
_GIF_IMAGE: Final = 0x2C


class ImageHeader(NamedTuple):
    """The size of an image in pixels, and whether it has several frames."""

    width: int
    height: int
    animated: bool = False


def image_type(data: bytes) -> str | None:
    """Return the media type of an image by its signature, None for anything else."""
    if data.startswith(_PNG_SIGNATURE):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WEBP
    return None


def image_header(data: bytes) -> ImageHeader | None:
    """Return the header of an image; None if it is damaged, or not an image of a known type."""
    reader = _READERS.get(image_type(data) or "")
    try:
        header = reader(data) if reader else None
    except (IndexError, ValueError):
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def _png(data: bytes) -> ImageHeader | None:
    if data[12:16] != b"IHDR" or len(data) < 24:  # noqa: PLR2004 (signature, length, type and two numbers)
        return None
    return ImageHeader(*unpack_from(">II", data, 16))


def _jpeg(data: bytes) -> ImageHeader | None:
    at = 2
    for _ in range(_MOST_BLOCKS):
        begin = data.find(b"\xff", at)
        found = _NO_PADDING.search(data, begin) if begin >= 0 else None
        if found is None or found.end() + 7 > len(data):
            break
        marker, at = found[0][0], found.end()
        if marker in _FRAME_MARKERS:
            height, width = unpack_from(">HH", data, at + 3)
            return ImageHeader(width, height)
        if marker not in _BARE_MARKERS and marker != 0:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    return None


def _gif(data: bytes) -> ImageHeader | None:
    if len(data) < 13:  # noqa: PLR2004 (signature and screen)
        return None
    width, height, flags = unpack_from("<HHB", data, 6)
    return ImageHeader(width, height, animated=_has_frames(data, 13 + _table_bytes(flags)))


def _table_bytes(flags: int) -> int:
    """Return the bytes of the color table that the flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _has_frames(data: bytes, at: int) -> bool:
    """Whether a GIF has more than one image from `at` on."""
    images = blocks = 0
    while at < len(data) and blocks < _MOST_BLOCKS:
        introducer = data[at]
        if introducer == _GIF_IMAGE:
            images += 1
            if images > 1 or at + 10 > len(data):
                break
            at += 11 + _table_bytes(data[at + 9])
        elif introducer == _GIF_EXTENSION:
            at += 2
        else:
            break
        while at < len(data) and data[at] and blocks < _MOST_BLOCKS:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
    return images > 1 or blocks >= _MOST_BLOCKS


def _webp(data: bytes) -> ImageHeader | None:
    if len(data) < 30:  # noqa: PLR2004 (the longest of the three headers)
        return None
    form = data[12:16]
    if form == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        return ImageHeader(width, height, animated=bool(data[20] & 0x02))
    if form == b"VP8L" and data[20] == 0x2F:  # noqa: PLR2004 (the signature of the lossless form)
        bits = int.from_bytes(data[21:25], "little")
        return ImageHeader(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = unpack_from("<HH", data, 26)
        return ImageHeader(width & 0x3FFF, height & 0x3FFF)
    return None


_READERS: Final[dict[str, Callable[[bytes], ImageHeader | None]]] = {PNG: _png, JPEG: _jpeg, GIF: _gif, WEBP: _webp}
