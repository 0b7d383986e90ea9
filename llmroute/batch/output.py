"""Where a batch writes its results, and reports what becomes of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from llmroute.batch.reader import Request
    from llmroute.batch.totals import BatchTotals
    from llmroute.bulk.batch_result import BatchResult
    from llmroute.errors import LLMRouteError
    from llmroute.jobs.run import RunProgress


class Results(Protocol):
    """Where results are written; a request is identified by its index in the input, from 0."""

    def register(self, index: int, request_id: str | int) -> bool:
        """Register a request; return whether an earlier run answered it.

        Raises:
            RequestError: the input has used this id before.
        """

    def has_attempt(self, index: int, request_id: str) -> bool:
        """Whether an earlier run has written the failure of a request with the cost of this attempt."""

    def write(self, index: int, record: dict[str, Any]) -> None:
        """Write the result of a request."""

    def secure(self) -> None:
        """Write the results to the disk.

        Raises:
            OutputError: they cannot be written.
        """


class Reporter(Protocol):
    """Where a batch reports what becomes of its lines."""

    def as_record(self, result: BatchResult) -> dict[str, Any]:
        """Return a result as a JSON object."""

    def add_failure(self, request: Request, error: LLMRouteError | None) -> None:
        """Note a request that has no answer and its error, None if it was not sent."""

    def print_error(self, line: int, error: LLMRouteError) -> None:
        """Print the error of a line, by its number, that is not a request."""

    def show_progress(self, totals: BatchTotals) -> None:
        """Show the totals after a line."""


class JobReporter(Reporter, Protocol):
    """As `Reporter`, of lines in batch jobs."""

    def show_jobs(self, progress: RunProgress) -> None:
        """Show the state of the jobs."""
