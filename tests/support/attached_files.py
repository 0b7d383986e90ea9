"""Small images and PDFs for attachments, made from their formats' own rules."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def png(width: int = 3, height: int = 2) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x7f" * width) * height) if width * height < 10**6 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int = 3, height: int = 2, *, before: bytes = b"") -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(9) + before + b"\xff\xff\xc0" + frame + b"\xff\xd9"


def gif(width: int = 3, height: int = 2, *, frames: int = 1, comment: bytes = b"") -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    note = b"!\xfe" + bytes([len(comment)]) + comment + b"\0" if comment else b""
    frame = b"!\xf9\x04\0\0\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return screen + note + frame * frames + b";"


def webp(width: int = 3, height: int = 2, *, form: str = "lossy", animated: bool = False) -> bytes:
    if form == "lossy":
        body = b"VP8 " + struct.pack("<I", 10) + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(10)
    elif form == "lossless":
        bits = (width - 1) | (height - 1) << 14
        body = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", bits) + bytes(10)
    else:
        flags = 0x02 if animated else 0
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + sides + bytes(4)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def pdf(pages: int = 1, *, compressed: bool = False, count: int | None = None, extra: bytes = b"") -> bytes:
    """Return a PDF whose tree declares `count` pages; `compressed` puts its objects into an object stream."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(pages))
    tree = f"<</Type/Pages/Kids[{kids}]/Count {pages if count is None else count}>>".encode()
    leaves = [b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>"] * pages
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
    body = _object_stream([tree, *leaves]) if compressed else _plain([tree, *leaves])
    return head + body + extra + b"trailer\n<</Root 1 0 R>>\n%%EOF\n"


def _plain(objects: Sequence[bytes]) -> bytes:
    return b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, each) for number, each in enumerate(objects, 2))


def _object_stream(objects: Sequence[bytes]) -> bytes:
    content = zlib.compress(b" ".join(objects))
    head = b"99 0 obj\n<</Type/ObjStm/N %d/First 0/Filter/FlateDecode/Length %d>>\n" % (len(objects), len(content))
    return head + b"stream\r\n" + content + b"\r\nendstream\nendobj\n"
