"""FILE.failed: the requests of a batch that have no answer, ready to be run again."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Any

from llmroute.files import replacing

if TYPE_CHECKING:
    from pathlib import Path


def failures_path(output: Path) -> Path:
    """Return the path of FILE.failed beside the results file."""
    return output.with_name(f"{output.name}.failed")


class _DiscardedError(Exception):
    """Ends the replacement without putting the new file in place."""


class FailuresFile:
    """A list of requests that replaces an older one when the run ends, because the older one may be its input."""

    def __init__(self, path: Path) -> None:
        """Create nothing before the first failure."""
        self.path = path
        self.count = 0
        self._replacement = ExitStack()
        self._file: IO[str] | None = None

    def write(self, source: dict[str, Any]) -> None:
        """Add a request.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None:
            fd = self._replacement.enter_context(replacing(self.path))
            file = open(fd, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 (a descriptor)
            self._file = self._replacement.enter_context(file)
        self._file.write(json.dumps(source, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self) -> None:
        """Replace the older file; without failures, delete it.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is not None:
            self._replacement.close()
        elif not self.path.is_dir():
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Keep the older file and delete the new one."""
        with suppress(OSError, _DiscardedError), self._replacement:
            raise _DiscardedError
