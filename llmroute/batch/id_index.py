"""Where the line of each id is, in twenty to forty bytes an entry: a million ids as Python objects take 150 MB."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_SLOTS = 1024
_MASK = 2**64 - 1


class IdIndex:
    """Maps ids to whole numbers from 0 to 2**64 - 1: a hash table of two arrays, at most four fifths full.

    Ids are known by their 64-bit hash: of ten million, two are taken for one another with a chance of 1 in 370,000.
    """

    def __init__(self) -> None:
        self._count = 0
        self._make(_LEAST_SLOTS)

    def _make(self, slots: int) -> None:
        self._hashes = array("Q", bytes(8 * slots))
        self._values = array("Q", bytes(8 * slots))

    def __len__(self) -> int:
        return self._count

    def get(self, key: str | int) -> int | None:
        """Return the number of an id, None where it has none."""
        slot, found = self._find(_hash(key))
        return self._values[slot] if found else None

    def put(self, key: str | int, value: int) -> None:
        """Set the number of an id."""
        if 5 * self._count >= 4 * len(self._hashes):
            self._grow()
        self._put(_hash(key), value)

    def values(self) -> Iterator[int]:
        """Yield every number, in no order."""
        return (value for known, value in zip(self._hashes, self._values, strict=True) if known)

    def _put(self, hashed: int, value: int) -> None:
        slot, found = self._find(hashed)
        self._hashes[slot] = hashed
        self._values[slot] = value
        self._count += not found

    def _find(self, hashed: int) -> tuple[int, bool]:
        """Return the slot of a hash, or the free one that it would get."""
        hashes = self._hashes
        last = len(hashes) - 1
        slot = hashed & last
        while (known := hashes[slot]) != hashed:
            if not known:
                return slot, False
            slot = (slot + 1) & last
        return slot, True

    def _grow(self) -> None:
        hashes, values = self._hashes, self._values
        self._make(2 * len(hashes))
        self._count = 0
        for hashed, value in zip(hashes, values, strict=True):
            if hashed:
                self._put(hashed, value)


def _hash(key: str | int) -> int:
    # The number 1 and the text "1" are two ids; Python's hash of a small number is itself, which would crowd the slots.
    return hash((type(key) is int, key)) & _MASK or 1
