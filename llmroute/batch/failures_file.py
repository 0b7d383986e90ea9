"""The requests of a batch that got no answer, ready to be run again."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from llmroute.files import new_file_beside, put_in_place

if TYPE_CHECKING:
    from pathlib import Path


class FailuresFile:
    """A file that takes the place of an older one when the run has ended by itself, for that one may be its input."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before the first failure."""
        self.path = path
        self._file: IO[str] | None = None
        self._new: Path | None = None
        self.count = 0

    def write(self, source: dict[str, Any]) -> None:
        """Add a request.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            fd, self._new = new_file_beside(self.path)
            self._file = open(fd, "w", encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115 (open until the end)
        self._file.write(json.dumps(source, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self) -> None:
        """Put the file in its place; without failures there is none.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None or self._new is None:
            if not self.path.is_dir():
                self.path.unlink(missing_ok=True)
            return
        with self._file as file:
            file.flush()
            put_in_place(file.fileno(), self._new, self.path)
        self._new = None

    def drop(self) -> None:
        """Leave the older file where it is: this run has not come to its end."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            if self._new is not None:
                self._new.unlink(missing_ok=True)
