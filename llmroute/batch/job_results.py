"""The results of a batch of jobs: the stage of each line, its record in the results file, and the totals of all."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from llmroute.bulk.batch_result import BatchResult
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.batch.output import Reporter, Results
    from llmroute.batch.reader import Request
    from llmroute.batch.totals import BatchTotals
    from llmroute.errors import LLMRouteError
    from llmroute.request.options import Options
    from llmroute.types import ServiceTier


class Stage(IntEnum):
    """The stage of a line; `RESCUE`, `FLEX` and `STANDARD` are to be answered by a call, the first after a job."""

    TAKE = 0
    IN_JOB = 1
    FINISHED = 2
    FAILED = 3
    NOT_RUN = 4
    RESCUE = 5
    FLEX = 6
    STANDARD = 7


TIERS: dict[int, ServiceTier | None] = {Stage.RESCUE: None, Stage.FLEX: "flex", Stage.STANDARD: None}
"""The tiers of the calls that answer lines, by the stage of the line; None is the standard one."""


class JobResults:
    """Writes the results of lines, in any order, notes their stages, and counts them in `totals`.

    `line_id` is the id of a line in the input; `tier` is that by which it was answered.
    """

    def __init__(self, results: Results, reporter: Reporter, totals: BatchTotals) -> None:
        self._results = results
        self._reporter = reporter
        self._totals = totals
        self.stages = bytearray()
        """The stage of each line, by its index."""
        # Whether the caller limits the completion of a line: without that, a budget may.
        self._limited = bytearray()

    def count(self, *stages: int) -> int:
        """Return how many lines are at one of some stages."""
        return sum(map(self.stages.count, stages))

    def register(self, index: int, request: Request) -> Options | None:
        """Register the next line; return its options if it is to be taken, None if an earlier run has answered it.

        Raises:
            RequestError: it is not a request, or another line has its id.
        """
        options = request.options
        self.stages.append(Stage.FINISHED)
        self._limited.append(not isinstance(options, RequestError) and options.max_tokens is not None)
        if isinstance(options, RequestError):
            raise options
        if self._results.register(index, request.id):
            self._totals.answered_before += 1
            return None
        self.stages[index] = Stage.TAKE
        return options

    def is_counted(self, index: int, request_id: str | None) -> bool:
        """Whether the results file has the cost of a line, or of this attempt of it."""
        is_failure = request_id is not None and self._results.has_attempt(index, request_id)
        return is_failure or self.stages[index] == Stage.FINISHED

    def add_invalid(self, index: int, request: Request, error: RequestError) -> None:
        """Write the error of a line that is no request."""
        self._totals.add_invalid(error)
        record = self._reporter.as_record(BatchResult(request, None, error))
        self._results.write(index, {"id": request.id, "line": request.line, **record})

    def add_answer(self, index: int, line_id: str | int, result: BatchResult, tier: str) -> None:
        """Write the answer to a line."""
        response = result.response
        assert response is not None
        self.stages[index] = Stage.FINISHED
        self._totals.add_answer(response, limited=bool(self._limited[index]))
        own = {"id": line_id, "request_id": response.request_id, "tier": tier}
        self._results.write(index, {**self._reporter.as_record(result), **own})
        self._reporter.show_progress(self._totals)

    def add_failure(
        self, index: int, line_id: str | int, error: LLMRouteError, tier: str, request_id: str | None = None
    ) -> None:
        """Write the error of a line that gets no answer; `request_id` is that of its attempt in a job."""
        self.stages[index] = Stage.FAILED
        self._totals.add_failure(error)
        self._totals.first_failure = self._totals.first_failure or error
        self.add_attempts(index, line_id, error, tier, request_id)
        self._reporter.show_progress(self._totals)

    def add_attempts(
        self, index: int, line_id: str | int, error: LLMRouteError, tier: str, request_id: str | None = None
    ) -> None:
        """Write an error with the cost of its attempts, unless an earlier run has; the line may still get an answer."""
        if request_id is not None and self._results.has_attempt(index, request_id):
            return
        self._totals.add_costs(error)
        record = self._reporter.as_record(BatchResult(None, None, error))
        own = {} if request_id is None else {"request_id": request_id}
        self._results.write(index, {"id": line_id, **record, **own, "tier": tier})
