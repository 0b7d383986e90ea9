"""The requests of a batch that got no answer, ready to be run again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class FailedFile:
    """A file that takes the place of an older one when the run has ended by itself, for that one may be its input."""

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

    def drop(self) -> None:
        """Leave the older file where it is: this run has not come to its end."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._new.unlink(missing_ok=True)
