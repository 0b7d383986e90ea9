"""The number of pages of a PDF, also where its objects are compressed.  Pure; bounded in time and memory.

A file may hold several page trees, of which only the last counts, and may lie.  The largest number is returned: it is
used for limits and costs.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PDF_SIGNATURE: Final = b"%PDF-"
BYTES_PER_PAGE: Final = 2048
"""The bytes of a page where the pages cannot be counted."""
MOST_INFLATED_BYTES: Final = 64 * 2**20
"""How much of the compressed objects is inflated, all together."""
MOST_TOKENS: Final = 2_000_000
_MOST_DEPTH: Final = 200
_HEAD_BYTES: Final = 4096
_TOKEN: Final = re.compile(rb"<<|>>|obj\b|/Type\s{0,20}/Pages?\b|/Count\s{0,20}(\d{1,9})\b")


class PdfFacts(NamedTuple):
    """The pages of a PDF, at least 1, and whether a password or permissions encrypt it."""

    pages: int
    encrypted: bool


class _Scan:
    """Counts page objects and reads the counts of page trees in pieces of a PDF."""

    def __init__(self) -> None:
        self.leaves = 0
        self.declared = 0
        self._left = MOST_TOKENS

    @property
    def exhausted(self) -> bool:
        return self._left <= 0

    def read(self, piece: bytes) -> None:
        """Read the dictionaries of a piece; an object that continues in the next piece is not recognized."""
        # Each open dictionary: whether it is a page tree, and its count.
        trees: list[tuple[bool, int]] = []
        for match in _TOKEN.finditer(piece):
            self._left -= 1
            if self._left <= 0:
                return
            word = match[0]
            if word == b"<<":
                if len(trees) < _MOST_DEPTH:
                    trees.append((False, 0))
            elif word == b"obj":
                trees.clear()
            elif word == b">>":
                is_tree, count = trees.pop() if trees else (False, 0)
                self.declared = max(self.declared, count if is_tree else 0)
            elif word.startswith(b"/Count"):
                if trees:
                    trees[-1] = (trees[-1][0], int(match[1]))
            elif word.endswith(b"s"):
                if trees:
                    trees[-1] = (True, trees[-1][1])
            else:
                self.leaves += 1


def is_pdf(data: bytes) -> bool:
    """Whether data is a PDF: readers accept the signature within the first KiB."""
    return PDF_SIGNATURE in data[:1024]


def pdf_facts(data: bytes) -> PdfFacts:
    """Return the number of pages of a PDF, by its size where they cannot be counted."""
    scan = _Scan()
    for piece in _pieces(data):
        scan.read(piece)
        if scan.exhausted:
            break
    encrypted = _is_encrypted(data)
    found = 0 if scan.exhausted else max(scan.leaves, scan.declared)
    return PdfFacts(found or max(len(data) // BYTES_PER_PAGE, 1), encrypted)


def _is_encrypted(data: bytes) -> bool:
    """Whether a trailer, or the dictionary of a cross-reference stream, refers to an encryption dictionary."""
    return re.search(rb"/Encrypt\s{0,20}(?:\d{1,10}\s{1,20}\d{1,5}\s{1,20}R|<<)", data) is not None


def _pieces(data: bytes) -> Iterator[bytes]:
    """Yield the parts outside of streams, and the inflated object streams."""
    left, at = MOST_INFLATED_BYTES, 0
    while (begin := data.find(b"stream", at)) >= 0:
        end = data.find(b"endstream", begin + 6)
        if end < 0:
            break
        yield data[at:begin]
        head = data[max(data.rfind(b"obj", max(begin - _HEAD_BYTES, at), begin), at) : begin]
        if b"/ObjStm" in head and left > 0:
            inflated = _inflated(data, begin + 6, end, left) if b"/FlateDecode" in head else data[begin + 6 : end]
            left -= len(inflated)
            yield inflated
        at = end + 9
    yield data[at:]


def _inflated(data: bytes, begin: int, end: int, most_bytes: int) -> bytes:
    """Return an inflated stream, as much of it as is sound and within `most_bytes`."""
    begin += 2 if data[begin : begin + 2] == b"\r\n" else 1
    try:
        return zlib.decompressobj().decompress(memoryview(data)[begin:end], most_bytes)
    except zlib.error:
        return b""
