"""The results of a batch of jobs: a record for each line in the results file, and the totals of all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmroute.bulk.batch_result import BatchResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.batch.reader import Request
    from llmroute.batch.runner import Results
    from llmroute.batch.totals import BatchTotals
    from llmroute.errors import LLMRouteError, RequestError


class JobResults:
    """Writes the results of lines, in any order, and counts them in `totals`.

    `line_id` is the id of a line as JSON; `tier` is that by which it was answered.
    """

    def __init__(
        self,
        results: Results,
        totals: BatchTotals,
        as_record: Callable[[BatchResult], dict[str, Any]],
        on_progress: Callable[[BatchTotals], None],
    ) -> None:
        self._results = results
        self._totals = totals
        self._as_record = as_record
        self._on_progress = on_progress

    def register(self, index: int, request: Request) -> bool:
        """Register a line; return whether an earlier run has answered it.

        Raises:
            RequestError: another line has its id.
        """
        return self._results.register(index, request.id)

    def add_invalid(self, index: int, request: Request, error: RequestError) -> None:
        """Write the error of a line that is no request."""
        self._totals.add_invalid(error)
        record = self._as_record(BatchResult(request, None, error))
        self._results.write(index, {"id": request.id, "line": request.line, **record})

    def add_answer(self, index: int, line_id: str, result: BatchResult, tier: str, *, limited: bool) -> None:
        """Write the answer to a line; `limited` says that its completion limit is the caller's own."""
        response = result.response
        assert response is not None
        self._totals.add_answer(response, limited=limited)
        own = {"id": json.loads(line_id), "request_id": response.request_id, "tier": tier}
        self._results.write(index, {**self._as_record(result), **own})
        self._on_progress(self._totals)

    def has_attempt(self, index: int, request_id: str) -> bool:
        """Whether an earlier run has written the failure of a line with the cost of this attempt."""
        return self._results.has_attempt(index, request_id)

    def add_failure(
        self, index: int, line_id: str, error: LLMRouteError, tier: str, request_id: str | None = None
    ) -> None:
        """Write the error of a line that gets no answer; `request_id` is that of its attempt in a job."""
        self._totals.add_failure(error)
        self._totals.first_failure = self._totals.first_failure or error
        self.add_attempts(index, line_id, error, tier, request_id)
        self._on_progress(self._totals)

    def add_attempts(
        self, index: int, line_id: str, error: LLMRouteError, tier: str, request_id: str | None = None
    ) -> None:
        """Write an error with the cost of its attempts, unless an earlier run has; the line may still get an answer."""
        if request_id is not None and self.has_attempt(index, request_id):
            return
        self._totals.add_costs(error)
        record = self._as_record(BatchResult(None, None, error))
        own = {} if request_id is None else {"request_id": request_id}
        self._results.write(index, {"id": json.loads(line_id), **record, **own, "tier": tier})
