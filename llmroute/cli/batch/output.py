"""The output of a batch: its results on stdout or in a file, and the failed requests in FILE.failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmroute.batch.failures_file import FailuresFile, failures_path
from llmroute.batch.results_file import ResultsFile
from llmroute.batch.resume import PriorResults
from llmroute.cli.errors import say
from llmroute.cli.output.stdout import write_json
from llmroute.cli.standard_streams import OutputFailed
from llmroute.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.errors import LLMRouteError


class BatchOutput:
    """The results and failures of one batch; a write error stops the batch, and answers still in flight go to stdout.

    `failures` is the list of failed requests, None where there is none or it could not be written.  `broken` is True
    after a write error of the results; `unwritten` counts the lost answers.
    """

    def __init__(self, path: Path | None, *, resume: bool, source: int, stop: Callable[[LLMRouteError], None]) -> None:
        """Open the results file at `path`, or use stdout; `source` is the descriptor of the input.

        `stop` is called with the reason when no more requests may be sent.

        Raises:
            LLMRouteError: the results file cannot be opened, is in use, or has content that is not resumed.
        """
        self._path = path
        self._stop = stop
        self._file = None if path is None else ResultsFile(path, resume=resume, source=source)
        self._stdout_ids = PriorResults()
        self.failures: FailuresFile | None = None
        if path is not None and _is_regular(path):
            self.failures = FailuresFile(failures_path(path))
        self._stdout_failed = False
        self.broken = False
        self.unwritten = 0

    @property
    def earlier_cost_usd(self) -> float:
        """The cost of earlier runs, according to the results file."""
        return 0.0 if self._file is None else self._file.earlier_cost_usd

    @property
    def resumable(self) -> bool:
        """Whether `--resume` can continue from the results."""
        return self._path is not None and _is_regular(self._path) and not self.broken

    @property
    def is_stream(self) -> bool:
        """Whether the results go to stdout, a pipe or a terminal, which keep nothing."""
        return self._file is None or self._file.is_stream

    def register(self, index: int, request_id: str | int) -> bool:
        """Register a request of the input; see `batch.runner.Results`."""
        if self._file is not None:
            return self._file.register(index, request_id)
        self._stdout_ids.register(request_id)
        return False

    def has_attempt(self, index: int, request_id: str) -> bool:
        """Whether an earlier run has written an attempt; see `batch.runner.Results`."""
        return self._file is not None and self._file.has_attempt(index, request_id)

    def write(self, index: int, record: dict[str, Any]) -> None:
        """Write a result; after a write error of the file, write it to stdout."""
        if self._file is not None and not self.broken:
            try:
                self._file.write(index, record)
            except OSError as error:
                reason = f"{self._path} cannot be written ({error.strerror}): answers still in flight go to stdout"
                say(f"warning: {reason}")
                self._break_off(reason)
            else:
                return
        if not self._stdout_failed:
            try:
                write_json(record)
            except OutputFailed as failure:
                self._stdout_failed = True
                if self.broken:
                    say(f"warning: {failure}")
                self._break_off(str(failure))
            else:
                return
        self.unwritten += "content" in record

    def secure(self) -> None:
        """Write the results to the disk; stop the batch where that fails.

        Raises:
            OutputError: they cannot be written, or their file was deleted, moved or replaced.
        """
        if self._file is None or self.broken:
            return
        try:
            self._file.secure()
        except OSError as error:
            failure = OutputError(f"{self._path} cannot be written: {error.strerror}")
        except OutputError as error:
            failure = error
        else:
            return
        self._stop(failure)
        raise failure

    def _break_off(self, reason: str) -> None:
        self.broken = True
        self._stop(OutputError(reason))

    def add_failure(self, source: dict[str, Any]) -> bool:
        """Add a request to the list of failures; return whether there is such a list."""
        if self.failures is None:
            return False
        try:
            self.failures.write(source)
        except OSError as error:
            self._discard_failures(error)
        return True

    def finish(self, *, in_order: bool, complete: bool) -> None:
        """Close the results, and replace the list of failures if it is `complete`."""
        try:
            if self._file is not None and self.broken:
                self._file.close()
            elif self._file is not None:
                self._file.finish(in_order=in_order)
        except OSError as error:
            say(f"warning: {self._path} is complete but not sorted: it could not be rewritten: {error.strerror}")
        except OutputError as error:
            say(f"warning: {error}")
            self.broken = True
        finally:
            self._finish_failures(complete=complete)

    def _finish_failures(self, *, complete: bool) -> None:
        if self.failures is None:
            return
        try:
            if complete:
                self.failures.finish()
            else:
                self._discard_failures()
        except OSError as error:
            self._discard_failures(error)

    def _discard_failures(self, error: OSError | None = None) -> None:
        assert self.failures is not None
        if error is not None:
            say(f"warning: {self.failures.path} cannot be written ({error.strerror}); --resume retries them")
        self.failures.discard()
        self.failures = None

    def withdraw(self) -> None:
        """Close the results file, and delete it if this run created it and wrote nothing."""
        if self._file is not None:
            self._file.withdraw()


def _is_regular(path: Path) -> bool:
    """Whether a path is a file that can be resumed, rather than a device, a pipe or the name of a descriptor."""
    folder = path.absolute().parent.resolve()
    is_descriptor = folder.is_relative_to("/proc") or (folder == Path("/dev") and path.is_symlink())
    return path.is_file() and not is_descriptor
