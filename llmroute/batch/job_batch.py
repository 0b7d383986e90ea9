"""Run a batch at the batch APIs of providers: the lines of a file in, the results of jobs out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from llmroute.batch.job_results import TIERS, JobResults, Stage
from llmroute.batch.job_tiers import check_line, route
from llmroute.batch.totals import BatchTotals
from llmroute.bulk.batch_result import BatchResult
from llmroute.bulk.concurrency import CONCURRENCY
from llmroute.bulk.executor import generate_many
from llmroute.errors import LedgerError, LLMRouteError, OutputError, RequestError
from llmroute.types import AUTO, BATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from llmroute.batch.output import JobReporter, Results
    from llmroute.batch.reader import Request
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.run import JobRun
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.ledger.jobs import PlacedLine
    from llmroute.request.options import Options
    from llmroute.service.core import ServiceCore

GROUP = 500
"""Lines that are looked up in the journal at once."""


class JobBatch:
    """One run over an input, which `open_requests` opens from its beginning: it is read several times."""

    def __init__(self, results: Results, reporter: JobReporter, open_requests: Callable[[], Iterator[Request]]) -> None:
        self.totals = BatchTotals()
        self._results = JobResults(results, reporter, self.totals)
        self._secure = results.secure
        self._reporter = reporter
        self._open_requests = open_requests
        self._stages = self._results.stages
        self._rescue = False
        self._interrupted = False
        self._run: JobRun | None = None

    @property
    def pending(self) -> int:
        """The number of lines that are in jobs."""
        return self._results.count(Stage.IN_JOB)

    def stop(self, reason: LLMRouteError) -> None:
        """Take no more lines and wait no longer."""
        self.totals.stopped_by = self.totals.stopped_by or reason
        self.interrupt()

    def interrupt(self) -> None:
        """Stop soon: submitted jobs continue at their providers."""
        self._interrupted = True
        if self._run is not None:
            self._run.interrupt()

    async def run(self, core: ServiceCore, settings: RunSettings, budget_usd: float | None) -> None:
        """Submit every line, and see the jobs to their end.

        Raises:
            RequestError: a value is out of range, a line cannot be in a batch, or the run to be resumed was another.
            LedgerError: the ledger cannot be written.
            OSError: the input cannot be read.
        """
        self._rescue = settings.rescue
        self._run = run = core.job_run(
            settings, self._deliver, self._reporter.show_jobs, self._secure, budget_usd=budget_usd
        )
        self._register()
        try:
            await self._run_to_end(core, run)
        finally:
            await run.end()

    async def _run_to_end(self, core: ServiceCore, run: JobRun) -> None:
        # The costs in the results file are already subtracted from the budget.
        await run.begin(self._results.is_counted)
        if self._interrupted:
            run.interrupt()
        stopped_by: LLMRouteError | None = None
        try:
            await self._take_lines(run)
            stopped_by = await self._finish(core, run)
        except OutputError as error:
            if error is not self.totals.stopped_by:
                raise
        for position in run.refused:
            self._stages[position] = Stage.NOT_RUN
        self.totals.stopped_by = self.totals.stopped_by or run.stopped_by or stopped_by
        self.totals.not_run = self._results.count(Stage.NOT_RUN, *([Stage.TAKE] if run.stopped_by else []))
        stopped_by = await self._call(core, run, (Stage.RESCUE,))
        self.totals.stopped_by = self.totals.stopped_by or stopped_by
        self.totals.not_run += self._results.count(*TIERS)
        self._list_failures()

    async def _finish(self, core: ServiceCore, run: JobRun) -> LLMRouteError | None:
        """Make calls while jobs run, and return why these were stopped; if jobs fail, calls in flight are awaited."""
        jobs = asyncio.ensure_future(run.finish())
        calls = asyncio.ensure_future(self._call(core, run, (Stage.FLEX, Stage.STANDARD)))
        try:
            await asyncio.gather(jobs, calls)
        except Exception:
            self.interrupt()
            await asyncio.gather(jobs, calls, return_exceptions=True)
            raise
        return calls.result()

    def _register(self) -> None:
        """Read the input once: check every line before anything is sent."""
        for index, request in enumerate(self._open_requests()):
            self.totals.lines += 1
            try:
                options = self._results.register(index, request)
            except RequestError as error:
                self._reporter.print_error(request.line, error)
                self._results.add_invalid(index, request, error)
            else:
                if options is not None:
                    check_line(request.line, options)
        self.totals.read_to_end = True
        self._reporter.show_progress(self.totals)

    async def _take_lines(self, run: JobRun) -> None:
        requests, first = enumerate(self._open_requests()), 0
        while group := list(islice(requests, GROUP)):
            placed = await run.placed(first, first + GROUP - 1)
            unanswered = await run.unanswered_before(first, first + GROUP - 1) if self._rescue else ()
            first += GROUP
            for index, request in group:
                if self._stages[index] != Stage.TAKE:
                    continue
                self._stages[index] = self._stage_before(run, placed.get(index), unanswered=index in unanswered)
                if self._stages[index] == Stage.TAKE and not run.interrupted and run.stopped_by is None:
                    await self._take(run, index, request)

    def _stage_before(self, run: JobRun, placed: PlacedLine | None, *, unanswered: bool) -> Stage:
        """Return the stage to which earlier starts of this run have brought a line; `TAKE` where it is new."""
        if placed is None:
            return Stage.RESCUE if unanswered else Stage.TAKE
        if run.is_open(placed):
            return Stage.IN_JOB
        if placed.state in ("unanswered", "rejected") and self._rescue:
            return Stage.RESCUE
        if placed.state == "answered":
            # The results file lacks its answer: the line is submitted again.
            return Stage.TAKE
        # An earlier start has reported it.
        self.totals.failed += 1
        self.totals.failure_codes.add(LLMRouteError.exit_code)
        return Stage.FAILED

    async def _take(self, run: JobRun, index: int, request: Request) -> None:
        assert not isinstance(request.options, RequestError)
        self._stages[index] = Stage.IN_JOB
        try:
            options = request.options
            if options.tier == AUTO:
                tier, options = await route(run, options)
                if tier != BATCH:
                    self._stages[index] = Stage.FLEX if tier == "flex" else Stage.STANDARD
                    return
            await run.take(index, json.dumps(request.id, ensure_ascii=False), options)
        except (LedgerError, OutputError):
            raise
        except LLMRouteError as error:
            if run.stopped_by is error:
                self._stages[index] = Stage.NOT_RUN
            else:
                self._results.add_failure(index, request.id, error, BATCH)

    async def _deliver(self, outcome: LineOutcome) -> None:
        """Write the outcome of a line.

        Raises:
            OutputError: results cannot be written; the job of the line is collected again by another run.
        """
        self._write_outcome(outcome)
        if isinstance(self.totals.stopped_by, OutputError):
            raise self.totals.stopped_by

    def _write_outcome(self, outcome: LineOutcome) -> None:
        index, line_id = outcome.position, json.loads(outcome.line_id)
        if self._stages[index] not in (Stage.IN_JOB, Stage.TAKE):
            return
        if outcome.response is not None:
            self._results.add_answer(index, line_id, BatchResult(None, outcome.response, None), BATCH)
            return
        assert outcome.error is not None
        if not (outcome.can_rescue and self._rescue):
            self._results.add_failure(index, line_id, outcome.error, BATCH, outcome.request_id)
            return
        self._stages[index] = Stage.RESCUE
        if outcome.error.attempts:
            # Its cost is written, also if the rescue fails.
            self._results.add_attempts(index, line_id, outcome.error, BATCH, outcome.request_id)

    async def _call(self, core: ServiceCore, run: JobRun, stages: tuple[int, ...]) -> LLMRouteError | None:
        """Answer the lines at some stages by calls; return why they were stopped, None where they were not."""
        if self._interrupted or not self._results.count(*stages):
            return None
        executor = core.bulk(CONCURRENCY, shared_budget=run.shared_budget)
        taken: list[tuple[int, Request]] = []
        failure: LLMRouteError | None = None

        async def requests() -> AsyncIterator[Options]:
            for index, request in enumerate(self._open_requests()):
                if (stage := self._stages[index]) in stages and not self._interrupted:
                    if isinstance(request.options, RequestError):
                        # A file that it names has changed since.
                        self._results.add_failure(index, request.id, request.options, BATCH)
                        continue
                    taken.append((index, request))
                    yield replace(request.options, tier=TIERS[stage])

        async for result in generate_many(executor, requests(), concurrency=CONCURRENCY, in_order=True):
            index, request = taken.pop(0)
            tier = TIERS[self._stages[index]] or "standard"
            if result.response is not None:
                self._results.add_answer(index, request.id, result, tier)
            elif result.error is not None:
                failure = result.error
                self._results.add_failure(index, request.id, failure, tier)
        # Lines are left where the budget is spent, or no provider answers: the last error says which.
        return failure if not self._interrupted and self._results.count(*stages) else None

    def _list_failures(self) -> None:
        """Pass the requests without an answer to `add_failure`; those in jobs may still get one."""
        without = {Stage.FAILED, Stage.NOT_RUN, *TIERS}
        if self.totals.stopped_by is not None:
            without.add(Stage.TAKE)
        if not self._results.count(*without):
            return
        for index, request in enumerate(self._open_requests()):
            if self._stages[index] in without:
                self._reporter.add_failure(request, None)
