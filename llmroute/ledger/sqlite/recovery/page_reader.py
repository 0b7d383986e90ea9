"""Read the records of an SQLite file from its pages, without SQLite and whatever its schema says.

The file format is described at https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Value = int | float | str | bytes | None

_MAGIC = b"SQLite format 3\0"
_FILE_HEADER = 100
# The default of SQLite.
_USUAL_PAGE = 4096
_LEAST_PAGE, _MOST_PAGE = 512, 65_536
_INDEX_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 2, 10, 13
_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FLOAT, _ZERO, _ONE, _LEAST_STRING = 7, 8, 9, 12
_32_BITS = 0xFFFFFFFF


class Record(NamedTuple):
    """A row as it is stored.  `rowid` is None in an index and in a table without rowids."""

    rowid: int | None
    values: tuple[Value, ...]


class DatabasePages:
    """The pages of a database, those that are committed in its write-ahead log included.  Numbers begin at 1."""

    def __init__(self, fd: int, log: bytes = b"") -> None:
        """Read from an open file and from the content of its log."""
        self._fd = fd
        header = os.pread(fd, _FILE_HEADER, 0)
        self.size = _page_size(header) or _page_size_of_log(log) or _USUAL_PAGE
        self._logged = _committed(log, self.size)
        self.count = max(-(-os.fstat(fd).st_size // self.size), *self._logged, 0)
        first = self[1]
        self.header_is_whole = first.startswith(_MAGIC)
        self.free = self._free_pages(first) if self.header_is_whole else frozenset()

    def __getitem__(self, number: int) -> bytes:
        """Return a page; bytes beyond the end of the file are zeros."""
        logged = self._logged.get(number)
        if logged is not None:
            return logged
        return os.pread(self._fd, self.size, (number - 1) * self.size).ljust(self.size, b"\0")

    def records(self) -> Iterator[Record]:
        """Yield every record of every page in use that can be read, in no order."""
        for number in range(1, self.count + 1):
            if number not in self.free:
                yield from self._records_of(self[number], _FILE_HEADER if number == 1 else 0)

    def _free_pages(self, first: bytes) -> frozenset[int]:
        """Follow the list of pages that are in use no more: they hold rows that were deleted."""
        free: set[int] = set()
        (trunk,) = struct.unpack_from(">I", first, 32)
        while 0 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self[trunk]
            trunk, count = struct.unpack_from(">II", page)
            free.update(struct.unpack_from(f">{min(count, self.size // 4 - 2)}I", page, 8))
        return frozenset(free)

    def _records_of(self, page: bytes, begin: int) -> Iterator[Record]:
        kind = page[begin]
        if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
            return
        (count,) = struct.unpack_from(">H", page, begin + 3)
        pointers = begin + (12 if kind == _INDEX_INTERIOR else 8)
        if pointers + 2 * count > self.size:
            return
        for pointer in struct.unpack_from(f">{count}H", page, pointers):
            try:
                yield self._record(page, kind, pointer)
            except (IndexError, ValueError, struct.error):
                # A damaged record is left out.
                continue

    def _record(self, page: bytes, kind: int, at: int) -> Record:
        if kind == _INDEX_INTERIOR:
            at += 4
        length, at = _varint(page, at)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
            rowid = _signed(rowid)
        payload, is_here = self._payload(page, at, length, in_table=kind == _TABLE_LEAF)
        # Half of a record on several pages may be of another record: wrong numbers, and bytes that are not text.
        return Record(rowid, _values(payload, "replace" if is_here else "strict"))

    def _payload(self, page: bytes, at: int, length: int, *, in_table: bool) -> tuple[bytes, bool]:
        """Return a payload, and whether it is all on its page: the rest of a long one is in a chain of others."""
        room = self.size
        if length > self.count * room:
            raise ValueError("longer than the file")
        most = room - 35 if in_table else (room - 12) * 64 // 255 - 23
        least = (room - 12) * 32 // 255 - 23
        here = length
        if length > most:
            here = least + (length - least) % (room - 4)
            here = here if here <= most else least
        payload = bytearray(page[at : at + here])
        if length > here:
            (following,) = struct.unpack_from(">I", page, at + here)
            while len(payload) < length:
                if not 0 < following <= self.count:
                    raise ValueError("the chain is broken")
                overflow = self[following]
                (following,) = struct.unpack_from(">I", overflow)
                payload += overflow[4 : 4 + length - len(payload)]
        if len(payload) < length:
            raise ValueError("cut off")
        return bytes(payload), length == here


def _page_size(header: bytes) -> int | None:
    if not header.startswith(_MAGIC):
        return None
    (size,) = struct.unpack_from(">H", header, 16)
    return _sane(_MOST_PAGE if size == 1 else size)


def _page_size_of_log(log: bytes) -> int | None:
    if len(log) < _WAL_HEADER or struct.unpack_from(">I", log)[0] not in _WAL_MAGIC:
        return None
    return _sane(struct.unpack_from(">I", log, 8)[0])


def _sane(size: int) -> int | None:
    return size if _LEAST_PAGE <= size <= _MOST_PAGE and size & (size - 1) == 0 else None


def _committed(log: bytes, page_size: int) -> dict[int, bytes]:
    """Return the pages of a write-ahead log as of its last commit, up to the first fault."""
    if len(log) < _WAL_HEADER or _page_size_of_log(log) != page_size:
        return {}
    order = _WAL_MAGIC[struct.unpack_from(">I", log)[0]]
    salts, expected = log[16:24], struct.unpack_from(">II", log, 24)
    sums = _checksum(order, log[:24], (0, 0))
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    at = _WAL_HEADER
    while sums == expected and at + _FRAME_HEADER + page_size <= len(log):
        number, commit = struct.unpack_from(">II", log, at)
        if log[at + 8 : at + 16] != salts:
            break
        expected = struct.unpack_from(">II", log, at + 16)
        page = log[at + _FRAME_HEADER : at + _FRAME_HEADER + page_size]
        sums = _checksum(order, page, _checksum(order, log[at : at + 8], sums))
        if sums != expected:
            break
        pending[number] = page
        if commit:
            committed.update(pending)
            pending.clear()
        at += _FRAME_HEADER + page_size
    return committed


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _32_BITS
        second = (second + odd + first) & _32_BITS
    return first, second


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where it ends."""
    value = 0
    for byte in data[at : at + 8]:
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 (the highest bit says that more comes)
            return value, at
    return value << 8 | data[at], at + 1


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _values(payload: bytes, errors: str) -> tuple[Value, ...]:
    """Return the columns of a record."""
    end, at = _varint(payload, 0)
    if end > len(payload):
        raise ValueError("the header is longer than the record")
    body, values = end, []
    while at < end:
        kind, at = _varint(payload, at)
        value, length = _value(payload, kind, body, errors)
        body += length
        values.append(value)
    if body != len(payload):
        raise ValueError("the columns do not fill the record")
    return tuple(values)


def _value(payload: bytes, kind: int, at: int, errors: str) -> tuple[Value, int]:
    """Return a column, and how many bytes it takes."""
    if kind in _INTEGERS:
        length = _INTEGERS[kind]
        return int.from_bytes(payload[at : at + length], "big", signed=True), length
    if kind == _FLOAT:
        return struct.unpack_from(">d", payload, at)[0], 8
    if kind >= _LEAST_STRING:
        length = (kind - _LEAST_STRING) // 2
        data = payload[at : at + length]
        return data.decode(errors=errors) if kind % 2 else data, length
    if kind in (_ZERO, _ONE):
        return kind - _ZERO, 0
    if kind == 0:
        return None, 0
    raise ValueError("a kind of column that is not used")


def log_of(path: Path) -> bytes:
    """Return the content of a database's write-ahead log, nothing where there is none that can be read."""
    try:
        return path.with_name(f"{path.name}-wal").read_bytes()
    except OSError:
        return b""
