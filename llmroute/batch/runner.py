"""Run a batch: send a request for each line of the input, and write its result."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from llmroute.batch.threaded_iterator import ThreadedIterator
from llmroute.batch.totals import BatchTotals
from llmroute.bulk.batch_result import BatchResult
from llmroute.bulk.shared_prompts import read_ahead
from llmroute.bulk.worker_pool import WorkerPool, WorkItem
from llmroute.errors import BudgetExceededError, InterruptedRequestError, LLMRouteError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmroute.batch.output import Reporter, Results
    from llmroute.batch.reader import Request
    from llmroute.bulk.executor import BulkExecutor
    from llmroute.service.core import ServiceCore

LISTING_TIME_S = 1.0
"""How long the rest of the input is read for the list of failures after a signal."""


class BatchLimits(NamedTuple):
    """The number of concurrent requests, whether results come in the order of the input, and the budget of all.

    `requests` is how many there are, None if unknown.
    """

    concurrency: int
    in_order: bool
    budget_usd: float | None
    requests: int | None = None


class Batch:
    """One run over an input."""

    def __init__(self, results: Results, reporter: Reporter) -> None:
        self.totals = BatchTotals()
        self._results = results
        self._reporter = reporter
        self._interrupted = False
        self._pool: WorkerPool | None = None
        self._executor: BulkExecutor | None = None
        self._reader: ThreadedIterator[Request] | None = None
        # The requests without a result, by index.
        self._open: dict[int, Request] = {}

    async def run(self, core: ServiceCore, requests: Iterator[Request], limits: BatchLimits, *, blocking: bool) -> None:
        """Run every request; `blocking` says that reading the next one may block.

        When the budget is spent, no provider answers or `interrupt` is called, the rest of the input is passed to
        `Reporter.add_failure`; a blocking input is not read further.

        Raises:
            RequestError: the concurrency or the budget is out of range, or the input is not in its format.
            OSError: the input cannot be read.
        """
        self._executor = executor = core.bulk(
            limits.concurrency, budget_usd=limits.budget_usd, requests=limits.requests
        )
        self._pool = pool = WorkerPool(
            executor.rounds, self._deliver, concurrency=limits.concurrency, in_order=limits.in_order
        )
        if blocking:
            self._reader = ThreadedIterator(requests)
        else:
            requests = read_ahead(requests, lambda request: executor.expect(request.options))
        rest: Iterable[Request] = requests if self._reader is None else self._reader.unclaimed
        if self._interrupted:
            self.interrupt()
        try:
            await pool.run(lambda: self._take(requests, executor))
        except asyncio.CancelledError:
            await self._list_open_requests(pool, rest)
            raise
        if self._interrupted:
            await self._list_open_requests(pool, rest)
        self.totals.stopped_by = pool.stopped_by
        if pool.stopped_by is not None and not self._interrupted:
            await self._skip_rest(rest)

    async def _take(self, requests: Iterator[Request], executor: BulkExecutor) -> WorkItem | None:
        """Return the work for the next line that no earlier run answered, None at the end of the input."""
        while (request := await self._reader.take() if self._reader else next(requests, None)) is not None:
            if (item := self._work_item(request)) is not None:
                if self._reader is not None:
                    # An input that does not block is read ahead, and expected there.
                    executor.expect(item.options)
                if not isinstance(item.options, LLMRouteError):
                    self._open[self.totals.lines - 1] = request
                return item
        self.totals.read_to_end |= not self._ending
        return None

    @property
    def _ending(self) -> bool:
        return self._interrupted or (self._pool is not None and self._pool.stopped_by is not None)

    def stop(self, reason: LLMRouteError) -> None:
        """Start no more requests; those in flight finish."""
        if self._pool is not None:
            self._pool.stop(reason)

    def interrupt(self) -> None:
        """Start no more attempts and let `run` return when those in flight have finished.

        The rest of the input is passed to `add_failure` as far as it can be read within a second; `totals.read_to_end`
        says whether that was all.
        """
        self._interrupted = True
        for part in (self._pool, self._executor):
            if part is not None:
                part.wind_down()
        if self._reader is not None:
            self._reader.close()

    async def _list_open_requests(self, pool: WorkerPool, rest: Iterable[Request]) -> None:
        """Deliver the results that waited for their turn, and report everything without a result as a failure."""
        for result in pool.held():
            await self._deliver(result)
        interrupted = {result.request[0]: result for result in pool.interrupted()}
        for index, request in list(self._open.items()):
            if index in interrupted:
                await self._deliver(interrupted[index])
            else:
                self._reporter.add_failure(request, None)
        until_s = time.monotonic() + LISTING_TIME_S
        for request in rest:
            if (item := self._work_item(request)) is not None and not isinstance(item.options, LLMRouteError):
                self._reporter.add_failure(request, None)
            if time.monotonic() > until_s:
                return
        self.totals.read_to_end |= self._reader is None

    def _work_item(self, request: Request) -> WorkItem | None:
        """Return the work for a line; None if an earlier run answered it."""
        index = self.totals.lines
        self.totals.lines += 1
        options = request.options
        if not isinstance(options, RequestError):
            try:
                if self._results.register(index, request.id):
                    self.totals.answered_before += 1
                    self._reporter.show_progress(self.totals)
                    return None
            except RequestError as error:
                options = error
                request = request._replace(options=error)
        return WorkItem(options, (index, request))

    async def _skip_rest(self, rest: Iterable[Request]) -> None:
        """Count the remaining requests as not run, until `interrupt` is called."""
        for request in rest:
            if not self.totals.lines % 1000:
                await asyncio.sleep(0)  # lets the loop deliver signals
            if (item := self._work_item(request)) is None:
                continue
            if isinstance(item.options, LLMRouteError):
                await self._deliver(BatchResult(item.request, None, item.options))
            else:
                self.totals.not_run += 1
                self._reporter.add_failure(request, None)
            if self._interrupted:
                return
        self.totals.read_to_end |= self._reader is None

    async def _deliver(self, result: BatchResult) -> None:
        index, request = result.request
        totals, response, error = self.totals, result.response, result.error
        self._open.pop(index, None)
        if response is not None:
            totals.add_answer(response, limited=request.options.max_tokens is not None)
            record = {**self._reporter.as_record(result), "id": request.id, "request_id": response.request_id}
            self._results.write(index, record)
        else:
            assert error is not None
            totals.add_costs(error)
            self._deliver_error(index, request, result, error)
        if self._ending and self._reader is not None:
            self._reader.close()
        self._reporter.show_progress(totals)

    def _deliver_error(self, index: int, request: Request, result: BatchResult, error: LLMRouteError) -> None:
        record = {"id": request.id, **self._reporter.as_record(result)}
        if error is request.options:
            self.totals.add_invalid(error)
            self._reporter.print_error(request.line, error)
            self._results.write(index, {"id": request.id, "line": request.line, **record})
            return
        if isinstance(error, BudgetExceededError) and not error.of_request and not error.attempts:
            # The budget of the batch is spent: nothing was sent, and the rest will not be.
            self._reporter.add_failure(request, None)
            self.totals.not_run += 1
            return
        if isinstance(error, InterruptedRequestError):
            # Its cost is written, so that a later run with a budget counts it.
            self._reporter.add_failure(request, None)
            self.totals.interrupted += 1
            self._results.write(index, record)
            return
        self._reporter.add_failure(request, error)
        self.totals.add_failure(error)
        self._results.write(index, record)
