"""FILE.failed: the requests of a batch that have no answer, ready to be run again."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from llmroute.files import new_file_beside, put_in_place

if TYPE_CHECKING:
    from pathlib import Path


class FailuresFile:
    """A list of requests that replaces an older one when the run ends, because the older one may be its input."""

    def __init__(self, path: Path) -> None:
        """Create nothing before the first failure."""
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None
        self._new_path: Path | None = None

    def write(self, source: dict[str, Any]) -> None:
        """Add a request.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            fd, self._new_path = new_file_beside(self.path)
            self._file = open(fd, "w", encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115 (open until the end)
        self._file.write(json.dumps(source, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self) -> None:
        """Replace the older file; without failures, delete it.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None or self._new_path is None:
            if not self.path.is_dir():
                self.path.unlink(missing_ok=True)
            return
        with self._file as file:
            file.flush()
            put_in_place(file.fileno(), self._new_path, self.path)
        self._new_path = None

    def discard(self) -> None:
        """Keep the older file and delete the new one."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            if self._new_path is not None:
                self._new_path.unlink(missing_ok=True)
