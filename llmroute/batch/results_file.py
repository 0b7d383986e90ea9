"""The results file: one JSON line per request, written as soon as it has a result, so that a kill loses nothing.

While a batch runs, the lines are in the order of completion; at the end they are sorted into the order of the input,
unless that is not wanted.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmroute.batch.resume import PriorResults, cost_picousd, result_lines
from llmroute.errors import OutputError, RequestError
from llmroute.files import cannot_write, is_at, open_locked, replacing
from llmroute.text.option_text import OptionText, Remedy
from llmroute.types import PICO_PER_USD

_NO_OFFSET = 2**64 - 1
_NULL = Path(os.devnull)
# Every line that llmroute writes starts with this.
_LINE_START = b'{"id":'


class ResultsFile:
    """A results file that is being written, locked against other runs."""

    def __init__(self, path: Path, *, resume: bool, source: int | None = None) -> None:
        """Open or create the file; with `resume`, read its results and keep them.

        `source` is the descriptor of the input.

        Raises:
            RequestError: its folder does not exist, another run writes it, it is the input, it has content and is not
                resumed, or it is a stream and is.
            OutputError: it cannot be written.
        """
        self.path = path
        self._fd, self._created = _open_exclusively(path)
        self.is_stream = not _is_seekable(self._fd) or os.path.samestat(os.fstat(self._fd), _NULL.stat())
        """Whether it is a pipe, a terminal or the null device, which keep nothing."""
        self._prior = PriorResults()
        # The offset of each request's line, by index in the input.
        self._offsets = array("Q")
        # The cost of requests that were sent and not answered, by index; a later result includes it.
        self._earlier_costs_usd: dict[int, float] = {}
        # The request ids of those of earlier runs.
        self._earlier_attempts: dict[int, str] = {}
        self._lines = 0
        # Repaired by the first write: where a partial last line starts that a crash left, or a missing line end.
        self._partial_line_at: int | None = None
        self._missing_line_end = False
        try:
            self._check_is_free(source, resume=resume)
            if resume:
                self._read_results()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def earlier_cost_usd(self) -> float:
        """The cost of all lines of earlier runs."""
        return self._prior.cost_usd

    def _check_is_free(self, source: int | None, *, resume: bool) -> None:
        if source is not None and os.path.samestat(os.fstat(source), os.fstat(self._fd)):
            raise RequestError(f"{self.path} is the input: write the results to another file")
        if resume and self.is_stream:
            raise RequestError(f"{self.path} is not a file, whose results can be read again", option="resume")
        if not resume and os.fstat(self._fd).st_size:
            hint = OptionText(Remedy("resume"), " continues it; or name a new file")
            raise RequestError(f"{self.path} is not empty", hint=hint)

    def _read_results(self) -> None:
        with open(os.dup(self._fd), "rb") as file:  # noqa: PTH123 (a descriptor)
            file.seek(0)
            for line in result_lines(file):
                if not line.raw.endswith(b"\n"):
                    is_result = line.raw.startswith(_LINE_START) or _LINE_START.startswith(line.raw)
                    if line.record is None and is_result:
                        self._partial_line_at = line.offset
                        return
                    self._missing_line_end = True
                self._prior.add(line)
                self._lines += 1

    def register(self, index: int, request_id: str | int) -> bool:
        """Register a request of the input; return whether an earlier run answered it.

        Raises:
            RequestError: the input has used this id before.
        """
        prior = self._prior.register(request_id)
        if prior is None:
            return False
        # An earlier failure stays until there is a new result.
        self._set_offset(index, prior.offset)
        if prior.failure_cost_usd:
            self._earlier_costs_usd[index] = prior.failure_cost_usd
        if prior.attempt_id is not None:
            self._earlier_attempts[index] = prior.attempt_id
        return prior.answered

    def has_attempt(self, index: int, request_id: str) -> bool:
        """Whether an earlier run has written the failure of a request with the cost of this attempt."""
        return self._earlier_attempts.get(index) == request_id

    def _repair_last_line(self) -> None:
        if self._partial_line_at is not None:
            os.ftruncate(self._fd, self._partial_line_at)
            self._partial_line_at = None
        if self._missing_line_end:
            os.write(self._fd, b"\n")
            self._missing_line_end = False

    def write(self, index: int, record: dict[str, Any]) -> None:
        """Append a result; the complete line is in the file when this returns.

        Raises:
            OSError: it cannot be written; no part of it is in the file.
        """
        self._repair_last_line()
        offset = os.fstat(self._fd).st_size
        if earlier_usd := self._earlier_costs_usd.get(index):
            record = {**record, "cost_before_usd": earlier_usd}
        rest = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            with suppress(OSError):  # a device cannot be truncated
                os.ftruncate(self._fd, offset)
            raise
        if "content" not in record and (failure_picousd := cost_picousd(record)):
            self._earlier_costs_usd[index] = failure_picousd / PICO_PER_USD
        self._lines += 1
        self._set_offset(index, offset)

    def _set_offset(self, index: int, offset: int) -> None:
        missing = index + 1 - len(self._offsets)
        if missing > 0:
            self._offsets.extend([_NO_OFFSET] * missing)
        self._offsets[index] = offset

    def secure(self) -> None:
        """Write the results to the disk.

        Raises:
            OSError: they cannot be written.
            OutputError: the file was deleted, moved or replaced since it was opened.
        """
        if not self._is_regular():
            return
        if not is_at(self._fd, self.path):
            hint = OptionText(Remedy("resume"), " collects what it can")
            raise OutputError(f"{self.path} was deleted, moved or replaced while the batch ran", hint=hint)
        os.fsync(self._fd)

    def _is_regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._fd).st_mode)

    def finish(self, *, in_order: bool) -> None:
        """Delete superseded lines, sort the others into the order of the input if `in_order`, and close the file.

        A file that was deleted or moved is written again.

        Raises:
            OSError: the file cannot be rewritten; it has all lines, in the order of completion.
            OutputError: it was replaced by another file, or was deleted and cannot be written again.
        """
        if self._fd < 0:
            return
        try:
            if not self._is_regular():
                return
            self._repair_last_line()
            os.fsync(self._fd)
            offsets = self._final_offsets()
            superseded = len(offsets) < self._lines
            is_sorted = all(here <= after for here, after in itertools.pairwise(offsets))
            final = offsets if in_order or is_sorted else array("Q", sorted(offsets))
            if not is_at(self._fd, self.path):
                self._restore(final)
            elif superseded or (in_order and not is_sorted):
                self._rewrite(final)
        finally:
            self.close()

    def _final_offsets(self) -> array[int]:
        # An array, because a list of integers takes five times the memory.
        offsets = array("Q", self._prior.unrelated_offsets())
        offsets.extend(offset for offset in self._offsets if offset != _NO_OFFSET)
        return offsets

    def _restore(self, offsets: array[int]) -> None:
        if self.path.exists():
            raise OutputError(f"{self.path} was replaced by another file while the batch ran")
        try:
            self._rewrite(offsets)
        except OSError as error:
            problem = f"{self.path} was deleted while the batch ran, and cannot be written again"
            raise OutputError(f"{problem}: {error.strerror}") from error

    def _rewrite(self, offsets: array[int]) -> None:
        with (
            replacing(self.path.resolve()) as fd,
            open(os.dup(self._fd), "rb") as old,  # noqa: PTH123 (a descriptor)
            open(fd, "wb", closefd=False) as file,
        ):
            for offset in offsets:
                old.seek(offset)
                file.write(old.readline())

    def withdraw(self) -> None:
        """Close the file, and delete it if this run created it and wrote nothing."""
        if self._fd >= 0 and self._created and not os.fstat(self._fd).st_size:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_exclusively(path: Path) -> tuple[int, bool]:
    """Open and lock the file until it is closed; return its descriptor, and whether it was created."""
    try:
        opened = open_locked(path, os.O_RDWR | os.O_APPEND, 0)
    except OSError as error:
        raise cannot_write(path, error) from error
    if opened is None:
        raise RequestError(f"another run is writing {path}")
    return opened


def _is_seekable(fd: int) -> bool:
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
