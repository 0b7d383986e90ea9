"""Run a batch: each line of the input is made a request, and what comes of it goes where results go."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llmroute.batch.threaded_iterator import ThreadedIterator
from llmroute.bulk.worker_pool import BatchResult, WorkerPool, WorkItem
from llmroute.errors import BudgetExceededError, LLMRouteError, RequestError
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llmroute.batch.reader import Request
    from llmroute.bulk.executor import BulkExecutor
    from llmroute.service.client import LLMService


COUNT_S = 1.0
"""How long the rest of an input is counted, and goes to those that failed, after a signal."""


class BatchLimits(NamedTuple):
    """How many requests at once, whether results wait for those before them, and what all may cost together."""

    jobs: int
    in_order: bool
    budget_usd: float | None


class Results(Protocol):
    """Where results go."""

    def meet(self, place: int, key: str | int) -> bool:
        """Take note of a request; return whether it is answered already.

        Raises:
            RequestError: its id has been used before.
        """

    def write(self, place: int, record: dict[str, Any]) -> None:
        """Write what came of the request at a place of the input."""


@dataclass(slots=True)
class BatchTotals:
    """What a batch has come to so far.

    `earlier` were answered by an earlier run; `cut_short` are answered too, and `unread` by a model that did not read
    the whole prompt.  `lines` are those that were read, which
    are all of the input when it was `read_to_end`.
    """

    answered: int = 0
    failed: int = 0
    bad: int = 0
    earlier: int = 0
    not_run: int = 0
    cut_short: int = 0
    unread: int = 0
    cost_picousd: int = 0
    unknown_costs: int = 0
    lines: int = 0
    read_to_end: bool = False
    stopped_by: LLMRouteError | None = None
    failure_codes: set[int] = field(default_factory=set)
    models: Counter[str] = field(default_factory=Counter)
    """How many each model has answered, by its name."""

    @property
    def done(self) -> int:
        """How many lines are dealt with."""
        return self.answered + self.failed + self.bad + self.earlier + self.not_run

    @property
    def cost_usd(self) -> float:
        """What this run has cost, as far as that is known."""
        return self.cost_picousd / PICO_PER_USD

    def count_cost(self, cost_usd: float | None) -> None:
        """Add what a request has cost; an unknown cost is counted as one."""
        if cost_usd is None:
            self.unknown_costs += 1
        else:
            self.cost_picousd += round(cost_usd * PICO_PER_USD)


class Batch:
    """One run over an input.

    `as_record` makes a result the object that is written; `fail` takes what is to be run again and why it failed, None
    where it was not run; `complain` takes the number of a bad line and what is wrong with it; `progress` hears the
    tally after each line.
    """

    def __init__(
        self,
        results: Results,
        *,
        as_record: Callable[[BatchResult], dict[str, Any]],
        fail: Callable[[Request, LLMRouteError | None], None],
        complain: Callable[[int, LLMRouteError], None],
        progress: Callable[[BatchTotals], None],
    ) -> None:
        self.tally = BatchTotals()
        self._results = results
        self._as_record = as_record
        self._fail = fail
        self._complain = complain
        self._progress = progress
        self._interrupted = False
        self._many: WorkerPool | None = None
        self._bulk: BulkExecutor | None = None
        self._waiting: ThreadedIterator[Request] | None = None
        # Requests without a result yet, by their places.
        self._open: dict[int, Request] = {}

    async def run(self, service: LLMService, requests: Iterator[Request], pace: BatchLimits, *, blocking: bool) -> None:
        """See every request through; `blocking` says that the next line may have to be waited for.

        What is left of a file when the budget is spent, nobody answers any more, or `interrupt` was called, is not run,
        and goes to those that failed; what a pipe might bring yet is not waited for.

        Raises:
            RequestError: jobs or budget cannot be, or the input is not what it was said to be.
            OSError: the input cannot be read.
        """
        self._bulk = bulk = service.bulk(jobs=pace.jobs, budget_usd=pace.budget_usd)
        self._many = many = WorkerPool(bulk.asking, self._deliver, jobs=pace.jobs, in_order=pace.in_order)
        self._waiting = waiting = ThreadedIterator(requests) if blocking else None
        if self._interrupted:
            self.interrupt()

        async def take() -> WorkItem | None:
            while True:
                request = await waiting.take() if waiting else next(requests, None)
                if request is None:
                    self.tally.read_to_end |= not self._ending
                    return None
                if (task := self._task(request)) is not None:
                    if not isinstance(task.asked, LLMRouteError):
                        self._open[self.tally.lines - 1] = request
                    return task

        try:
            await many.run(take)
        except asyncio.CancelledError:
            await self._leave_off(many, waiting.unclaimed if waiting else requests, whole=not blocking)
            raise
        if self._interrupted:
            await self._leave_off(many, waiting.unclaimed if waiting else requests, whole=not blocking)
        self.tally.stopped_by = many.stopped_by
        if many.stopped_by is not None and not self._interrupted:
            for request in waiting.unclaimed if waiting else requests:
                await self._pass_over(request)
                if self._interrupted:
                    return
            self.tally.read_to_end |= not blocking

    @property
    def _ending(self) -> bool:
        return self._interrupted or (self._many is not None and self._many.stopped_by is not None)

    def stop(self, why: LLMRouteError) -> None:
        """Take no more requests; those under way are seen through."""
        if self._many is not None:
            self._many.stop(why)

    def interrupt(self) -> None:
        """Begin nothing more: what was sent is seen through, and `run` returns then.

        The rest goes to those that failed, as far as it can be read at once: all of it where `read_to_end` is True.
        """
        self._interrupted = True
        for part in (self._many, self._bulk):
            if part is not None:
                part.wind_down()
        if self._waiting is not None:
            self._waiting.close()

    async def _leave_off(self, many: WorkerPool, requests: Iterable[Request], *, whole: bool) -> None:
        """Let out what waited for those before it, and list what is left for as long as a person waits for that."""
        for result in many.held():
            await self._deliver(result)
        for request in self._open.values():
            self._fail(request, None)
        until_s = time.monotonic() + COUNT_S
        for request in requests:
            if (task := self._task(request)) is not None and not isinstance(task.asked, LLMRouteError):
                self._fail(request, None)
            if time.monotonic() > until_s:
                return
        self.tally.read_to_end |= whole

    def _task(self, request: Request) -> WorkItem | None:
        """Return what is to be done about a line; None where it is answered already."""
        place = self.tally.lines
        self.tally.lines += 1
        asked = request.asked
        if not isinstance(asked, RequestError):
            try:
                if self._results.meet(place, request.id):
                    self.tally.earlier += 1
                    self._progress(self.tally)
                    return None
            except RequestError as error:
                asked = error
                request = request._replace(asked=error)
        return WorkItem(asked, (place, request))

    async def _pass_over(self, request: Request) -> None:
        if not self.tally.lines % 1000:
            await asyncio.sleep(0)  # a signal may have come
        task = self._task(request)
        if task is None:
            return
        if isinstance(task.asked, LLMRouteError):
            await self._deliver(BatchResult(task.request, None, task.asked))
            return
        self.tally.not_run += 1
        self._fail(request, None)

    async def _deliver(self, result: BatchResult) -> None:
        place, request = result.request
        tally, response, error = self.tally, result.response, result.error
        self._open.pop(place, None)
        if response is not None:
            tally.answered += 1
            tally.models[f"{response.provider}/{response.model}"] += 1
            tally.unread += response.prompt_cut is not None
            tally.cut_short += response.finish_reason == "length" and request.asked.max_tokens is None
            tally.count_cost(response.cost_usd)
            self._results.write(place, {**self._as_record(result), "id": request.id, "request_id": response.request_id})
        else:
            assert error is not None
            for attempt in error.attempts:
                tally.count_cost(attempt.cost_usd)
            self._deliver_error(place, request, result, error)
        if self._ending and self._waiting is not None:
            self._waiting.close()
        self._progress(tally)

    def _deliver_error(self, place: int, request: Request, result: BatchResult, error: LLMRouteError) -> None:
        if error is request.asked:
            self.tally.bad += 1
            self.tally.failure_codes.add(error.exit_code)
            self._complain(request.line, error)
            self._results.write(place, {"id": request.id, "line": request.line, **self._as_record(result)})
            return
        if isinstance(error, BudgetExceededError) and not error.of_request and not error.attempts:
            # It was not sent, nor will the rest be.
            self._fail(request, None)
            self.tally.not_run += 1
            return
        self._fail(request, error)
        self.tally.failed += 1
        self.tally.failure_codes.add(error.exit_code)
        self._results.write(place, {"id": request.id, **self._as_record(result)})
