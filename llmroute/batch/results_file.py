"""The file of results: one JSON line for each request, written as soon as it is known, so that a kill loses nothing.

While a batch runs the lines are in the order in which the answers came.  When it ends they are put in the order of the
input, unless that is not wanted.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmroute.batch.resume import PriorResults, cost_usd, read
from llmroute.errors import RequestError, cannot_write
from llmroute.files import open_locked, replacing
from llmroute.text.option_names import OptionText, Remedy

if TYPE_CHECKING:
    from pathlib import Path

_NOWHERE = 2**64 - 1
# How each line of this program begins.
_BEGINNING = b'{"id":'


class ResultsFile:
    """A file of results that is being written; only one run writes it at a time."""

    def __init__(self, path: Path, *, resume: bool, source: int | None = None) -> None:
        """Open or make the file; with `resume` the answers in it are kept and its last line is mended.

        `source` is the descriptor of the input.

        Raises:
            RequestError: there is no folder for it, another run writes it, it is the input, or it holds something and
                is not resumed.
            OutputError: it cannot be written.
        """
        self.path = path
        self._fd, self._made = _open_alone(path)
        self._known = PriorResults()
        # The offset of each request's line, by its place in the input.
        self._by_place = array("Q")
        # What a request has cost in earlier runs that did not answer it, by its place.
        self._spent_usd: dict[int, float] = {}
        self._lines = 0
        # Where the last line begins that a crash has left half, and what the last one lacks: mended by the first write.
        self._half_at: int | None = None
        self._lacks = b""
        try:
            self._refuse_to_be(source)
            if resume:
                self._scan()
            else:
                self._refuse_content()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def earlier_usd(self) -> float:
        """What all lines of earlier runs say that they cost."""
        return self._known.cost_usd

    def _refuse_to_be(self, source: int | None) -> None:
        if source is not None and os.path.samestat(os.fstat(source), os.fstat(self._fd)):
            raise RequestError(f"{self.path} is the input: results need a file of their own")

    def _refuse_content(self) -> None:
        if os.fstat(self._fd).st_size:
            raise RequestError(
                f"{self.path} holds something already",
                hint=OptionText(
                    Remedy("resume"), " goes on with it and asks nothing twice; or name a file that is not there"
                ),
            )

    def _scan(self) -> None:
        """Learn what earlier runs have left, but for what a crash has left of a last line."""
        end = 0
        with open(os.dup(self._fd), "rb") as file:  # noqa: PTH123 (a descriptor)
            file.seek(0)
            for raw in file:
                told = read(raw)
                if not raw.endswith(b"\n"):
                    if told is None and (raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw)):
                        self._half_at = end
                        break
                    self._lacks = b"\n"
                self._known.learn(end, told)
                self._lines += 1
                end += len(raw)

    def meet(self, place: int, key: str | int) -> bool:
        """Take note of a request of the input; return whether an earlier run has answered it.

        Raises:
            RequestError: this input has had that id before.
        """
        left = self._known.meet(key)
        if left is None:
            return False
        # An older failure stands until there is news.
        self._set(place, left.offset)
        if not left.answered and (spent_usd := cost_usd(read(self._line(left.offset)))):
            self._spent_usd[place] = spent_usd
        return left.answered

    def _line(self, offset: int) -> bytes:
        with open(os.dup(self._fd), "rb") as file:  # noqa: PTH123 (a descriptor)
            file.seek(offset)
            return file.readline()

    def _mend(self) -> None:
        if self._half_at is not None:
            os.ftruncate(self._fd, self._half_at)
            self._half_at = None
        if self._lacks:
            os.write(self._fd, self._lacks)
            self._lacks = b""

    def write(self, place: int, record: dict[str, Any]) -> None:
        """Append a result; it is in the file, whole, when this returns.

        Raises:
            OSError: it is not, and nothing of it is.
        """
        self._mend()
        offset = os.fstat(self._fd).st_size
        if spent_usd := self._spent_usd.get(place):
            record = {**record, "cost_before_usd": spent_usd}
        data = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            rest = data
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with suppress(OSError):  # a device has no end to be cut
                os.ftruncate(self._fd, offset)
            raise
        self._lines += 1
        self._set(place, offset)

    def _set(self, place: int, offset: int) -> None:
        missing = place + 1 - len(self._by_place)
        if missing > 0:
            self._by_place.extend([_NOWHERE] * missing)
        self._by_place[place] = offset

    def finish(self, *, in_order: bool) -> None:
        """Drop what later lines stand for, put the lines in the order of the input if asked to, and close the file.

        Raises:
            OSError: the file cannot be written anew; all lines are in it, in the order in which they came.
        """
        if self._fd < 0:
            return
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                return
            self._mend()
            os.fsync(self._fd)
            offsets = self._kept()
            dropped = len(offsets) < self._lines
            if in_order and (dropped or any(here > after for here, after in itertools.pairwise(offsets))):
                self._write_anew(offsets)
            elif dropped:
                self._write_anew(array("Q", sorted(offsets)))
        finally:
            self.close()

    def _kept(self) -> array[int]:
        # Never a list of all of them: numbers as Python objects take five times the room.
        kept = array("Q", self._known.unmet())
        kept.extend(offset for offset in self._by_place if offset != _NOWHERE)
        return kept

    def _write_anew(self, offsets: array[int]) -> None:
        with (
            replacing(self.path.resolve()) as fd,
            open(os.dup(self._fd), "rb") as old,  # noqa: PTH123 (a descriptor)
            open(fd, "wb", closefd=False) as file,
        ):
            for offset in offsets:
                old.seek(offset)
                file.write(old.readline())

    def withdraw(self) -> None:
        """Close the file, and leave none where this run has made it and written nothing."""
        if self._fd >= 0 and self._made and not os.fstat(self._fd).st_size:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_alone(path: Path) -> tuple[int, bool]:
    """Open a file as the only run that writes it, until it is closed; return its descriptor, and whether it is new.

    Raises:
        RequestError: there is no folder for it, or another run writes it.
        OutputError: it cannot be written.
    """
    try:
        held = open_locked(path, os.O_RDWR | os.O_APPEND, 0)
    except OSError as error:
        raise cannot_write(path, error) from error
    if held is None:
        raise RequestError(f"{path} is being written by another run")
    return held
