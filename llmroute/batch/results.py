"""The file of results: one JSON line for each request, written as soon as it is known, so that a kill loses nothing.

While a batch runs the lines are in the order in which the answers came.  When it ends they are put in the order of the
input, unless that is not wanted.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from array import array
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from llmroute.batch.ids import IdTable
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOWHERE = 2**64 - 1
# What the table says of an id: that this run has met it, or where its line of an earlier run is, and of which kind.
_MET = _NOWHERE
_ANSWERED, _FAILED = 0, 1


class Found(NamedTuple):
    """What an earlier run has left: how many answers, and what all its lines cost in USD."""

    answers: int
    cost_usd: float


class ResultsFile:
    """A file of results that is being written; only one run writes it at a time."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Open or make the file; with `resume` the answers in it are kept and its last line is mended.

        Raises:
            RequestError: it cannot be written, another run writes it, or it holds something and is not resumed.
        """
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise RequestError(f"{path} cannot be written: {error.strerror}") from error
        self._ids = IdTable()
        # The offset of each request's line, by its place in the input; then lines of others, which stay in front.
        self._by_place = array("Q")
        self._others = array("Q")
        self._lines = 0
        try:
            _lock(self._fd, path)
            self.found = self._scan() if resume else self._refuse_content()
        except BaseException:
            os.close(self._fd)
            raise

    def _refuse_content(self) -> Found:
        if os.fstat(self._fd).st_size:
            raise RequestError(
                f"{self.path} holds something already",
                hint="--resume goes on with it and asks nothing twice; or name a file that is not there",
            )
        return Found(0, 0.0)

    def _scan(self) -> Found:
        """Learn which ids are answered, and cut off what a crash has left of a last line."""
        answers, cost_usd, end = 0, 0.0, 0
        with open(os.dup(self._fd), "rb") as file:  # noqa: PTH123 (a descriptor)
            file.seek(0)
            for raw in file:
                told = _told(raw)
                if not raw.endswith(b"\n"):
                    if told is None:
                        os.ftruncate(self._fd, end)
                        break
                    os.write(self._fd, b"\n")
                answered = told is not None and "content" in told
                self._learn(end, told, answered=answered)
                answers += answered
                cost_usd += _cost_usd(told)
                end += len(raw)
        return Found(answers, cost_usd)

    def _learn(self, offset: int, told: dict[str, Any] | None, *, answered: bool) -> None:
        self._lines += 1
        key = told.get("id") if told else None
        if isinstance(key, str | int):
            if answered or (known := self._ids.get(key)) is None or known & 1 == _FAILED:
                self._ids.put(key, offset << 1 | (_ANSWERED if answered else _FAILED))
        elif told is None or "line" not in told:
            # Not of this program's making: it is left alone.
            self._others.append(offset)

    def meet(self, place: int, key: str | int) -> bool:
        """Take note of a request of the input; return whether an earlier run has answered it.

        Raises:
            RequestError: this input has had that id before.
        """
        known = self._ids.get(key)
        if known == _MET:
            raise RequestError(f"the id {json.dumps(key)} has been used before in this input")
        self._ids.put(key, _MET)
        if known is None or known & 1 == _FAILED:
            return False
        self._set(place, known >> 1)
        return True

    def write(self, place: int, record: dict[str, Any]) -> None:
        """Append a result; it is in the file, whole, when this returns.

        Raises:
            OSError: it is not, and nothing of it is.
        """
        offset = os.fstat(self._fd).st_size
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
        try:
            os.fsync(self._fd)
            offsets = self._kept()
            if not in_order:
                offsets = array("Q", sorted(offsets))
            if len(offsets) < self._lines or any(here > after for here, after in itertools.pairwise(offsets)):
                self._write_anew(offsets)
        finally:
            self.close()

    def _kept(self) -> array[int]:
        earlier = sorted([*self._others, *(value >> 1 for value in self._ids.values() if value != _MET)])
        return array("Q", [*earlier, *(offset for offset in self._by_place if offset != _NOWHERE)])

    def _write_anew(self, offsets: array[int]) -> None:
        new = self.path.with_name(f"{self.path.name}.new-{os.getpid()}")
        mode = os.fstat(self._fd).st_mode & 0o777
        try:
            with (
                open(os.dup(self._fd), "rb") as old,  # noqa: PTH123 (a descriptor)
                open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file,  # noqa: PTH123
            ):
                for offset in offsets:
                    old.seek(offset)
                    file.write(old.readline())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FailedFile:
    """The requests that got no answer, ready to be run again; it takes the place of an older one when it is whole."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before the first failure."""
        self.path = path
        self._new = path.with_name(f"{path.name}.new-{os.getpid()}")
        self._file: IO[str] | None = None
        self.count = 0

    def write(self, source: dict[str, Any]) -> None:
        """Add a request.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            self._file = self._new.open("w", encoding="utf-8", errors="replace")
        self._file.write(json.dumps(source, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self) -> None:
        """Put the file in its place; without failures there is none.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            self.path.unlink(missing_ok=True)
            return
        self._file.close()
        self._new.replace(self.path)


def _told(raw: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(raw)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _cost_usd(told: dict[str, Any] | None) -> float:
    """Return what a line says that it has cost, all its attempts together."""
    if told is None:
        return 0.0
    cost = told.get("cost_usd")
    if isinstance(cost, int | float):
        return float(cost)
    error = told.get("error")
    attempts = error.get("attempts") if isinstance(error, dict) else told.get("attempts")
    return sum(_costs(attempts))


def _costs(attempts: object) -> Iterator[float]:
    for attempt in attempts if isinstance(attempts, list) else ():
        cost = attempt.get("cost_usd") if isinstance(attempt, dict) else None
        if isinstance(cost, int | float):
            yield float(cost)


def _lock(fd: int, path: Path) -> None:
    """Be the only run that writes the file; the lock goes when it is closed."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestError(f"{path} is being written by another run") from None
