"""Run a batch at the batch APIs of providers: the lines of a file in, the results of jobs out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmroute.batch.job_results import JobResults
from llmroute.batch.job_tiers import check_line, route
from llmroute.batch.totals import BatchTotals
from llmroute.bulk.batch_result import BatchResult
from llmroute.bulk.concurrency import CONCURRENCY
from llmroute.bulk.executor import generate_many
from llmroute.errors import LedgerError, LLMRouteError, OutputError, RequestError
from llmroute.types import AUTO, BATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from llmroute.batch.reader import Request
    from llmroute.batch.runner import Results
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.run import JobRun, RunProgress
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.request.options import Options
    from llmroute.service.core import ServiceCore
    from llmroute.types import ServiceTier

GROUP = 500
"""Lines that are looked up in the journal at once."""
# The states of a line: to be taken, in a job, finished, without an answer, not sent; or to be answered by a call, after
# a job, or at the flex or the standard tier from the beginning.
_TAKE, _IN_JOB, _FINISHED, _FAILED, _NOT_RUN, _RESCUE, _FLEX, _STANDARD = range(8)
_TIERS: dict[int, ServiceTier | None] = {_RESCUE: None, _FLEX: "flex", _STANDARD: None}


class JobBatch:
    """One run over an input; the callbacks are those of `batch.runner.Batch`.

    `open_requests` opens the input from its beginning: it is read several times.  `on_jobs` gets the state of the jobs.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        results: Results,
        open_requests: Callable[[], Iterator[Request]],
        *,
        as_record: Callable[[BatchResult], dict[str, Any]],
        on_failure: Callable[[Request, LLMRouteError | None], None],
        on_invalid_line: Callable[[int, LLMRouteError], None],
        on_progress: Callable[[BatchTotals], None],
        on_jobs: Callable[[RunProgress], None],
    ) -> None:
        self.totals = BatchTotals()
        self._results = JobResults(results, self.totals, as_record, on_progress)
        self._secure = results.secure
        self._open_requests = open_requests
        self._on_failure = on_failure
        self._on_invalid_line = on_invalid_line
        self._on_progress = on_progress
        self._on_jobs = on_jobs
        self._states = bytearray()
        # Whether the caller limits the completion of a line: without that, a budget may.
        self._limited = bytearray()
        self._rescue = False
        self._interrupted = False
        self._run: JobRun | None = None

    @property
    def pending(self) -> int:
        """The number of lines that are in jobs."""
        return self._states.count(_IN_JOB)

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
        self._run = run = core.job_run(settings, self._deliver, self._on_jobs, self._secure, budget_usd=budget_usd)
        self._register()
        try:
            await self._run_to_end(core, run)
        finally:
            await run.end()

    def _is_counted(self, position: int, request_id: str | None) -> bool:
        is_failure = request_id is not None and self._results.has_attempt(position, request_id)
        return is_failure or self._states[position] == _FINISHED

    async def _run_to_end(self, core: ServiceCore, run: JobRun) -> None:
        # The costs in the results file are already subtracted from the budget.
        await run.begin(self._is_counted)
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
            self._states[position] = _NOT_RUN
        self.totals.stopped_by = self.totals.stopped_by or run.stopped_by or stopped_by
        self.totals.not_run = self._states.count(_NOT_RUN) + (self._states.count(_TAKE) if run.stopped_by else 0)
        stopped_by = await self._call(core, run, (_RESCUE,))
        self.totals.stopped_by = self.totals.stopped_by or stopped_by
        self.totals.not_run += sum(map(self._states.count, _TIERS))
        self._list_failures()

    async def _finish(self, core: ServiceCore, run: JobRun) -> LLMRouteError | None:
        """Make calls while jobs run, and return why these were stopped; if jobs fail, calls in flight are awaited."""
        jobs = asyncio.ensure_future(run.finish())
        calls = asyncio.ensure_future(self._call(core, run, (_FLEX, _STANDARD)))
        try:
            await asyncio.gather(jobs, calls)
        except Exception:
            self.interrupt()
            await asyncio.gather(jobs, calls, return_exceptions=True)
            raise
        return calls.result()

    def _register(self) -> None:
        """Read the input once: check every line before anything is sent."""
        totals = self.totals
        for index, request in enumerate(self._open_requests()):
            totals.lines += 1
            options: Options | RequestError = request.options
            try:
                if isinstance(options, RequestError):
                    raise options
                state = _FINISHED if self._results.register(index, request) else _TAKE
            except RequestError as error:
                self._on_invalid_line(request.line, error)
                self._results.add_invalid(index, request, error)
                state = _FINISHED
            else:
                if state == _FINISHED:
                    totals.answered_before += 1
                else:
                    check_line(request.line, options)
            self._states.append(state)
            self._limited.append(not isinstance(options, RequestError) and options.max_tokens is not None)
        totals.read_to_end = True
        self._on_progress(totals)

    async def _take_lines(self, run: JobRun) -> None:
        requests, first = enumerate(self._open_requests()), 0
        while group := list(islice(requests, GROUP)):
            placed = await run.placed(first, first + GROUP - 1)
            unanswered = await run.unanswered_before(first, first + GROUP - 1) if self._rescue else ()
            first += GROUP
            for index, request in group:
                if self._states[index] != _TAKE:
                    continue
                if index in placed:
                    state = placed[index].state
                    if run.is_open(placed[index]):
                        self._states[index] = _IN_JOB
                    elif state in ("unanswered", "rejected") and self._rescue:
                        self._states[index] = _RESCUE
                    elif state != "answered":
                        # An earlier start of this run has reported it.
                        self._states[index] = _FAILED
                        self.totals.failed += 1
                        self.totals.failure_codes.add(LLMRouteError.exit_code)
                elif index in unanswered:
                    self._states[index] = _RESCUE
                if self._states[index] == _TAKE and not run.interrupted and run.stopped_by is None:
                    await self._take(run, index, request)

    async def _take(self, run: JobRun, index: int, request: Request) -> None:
        assert not isinstance(request.options, RequestError)
        self._states[index] = _IN_JOB
        try:
            options = request.options
            if options.tier == AUTO:
                tier, options = await route(run, options)
                if tier != BATCH:
                    self._states[index] = _FLEX if tier == "flex" else _STANDARD
                    return
            await run.take(index, json.dumps(request.id, ensure_ascii=False), options)
        except (LedgerError, OutputError):
            raise
        except LLMRouteError as error:
            if run.stopped_by is error:
                self._states[index] = _NOT_RUN
            else:
                self._fail(index, json.dumps(request.id), error)

    async def _deliver(self, outcome: LineOutcome) -> None:
        """Write the outcome of a line.

        Raises:
            OutputError: results cannot be written; the job of the line is collected again by another run.
        """
        self._write_outcome(outcome)
        if isinstance(self.totals.stopped_by, OutputError):
            raise self.totals.stopped_by

    def _write_outcome(self, outcome: LineOutcome) -> None:
        index = outcome.position
        if self._states[index] not in (_IN_JOB, _TAKE):
            return
        if outcome.response is None:
            assert outcome.error is not None
            if outcome.can_rescue and self._rescue:
                self._states[index] = _RESCUE
                if outcome.error.attempts:
                    # Its cost is written, also if the rescue fails.
                    self._results.add_attempts(index, outcome.line_id, outcome.error, BATCH, outcome.request_id)
            else:
                self._fail(index, outcome.line_id, outcome.error, request_id=outcome.request_id)
            return
        self._states[index] = _FINISHED
        result, limited = BatchResult(None, outcome.response, None), bool(self._limited[index])
        self._results.add_answer(index, outcome.line_id, result, BATCH, limited=limited)

    async def _call(self, core: ServiceCore, run: JobRun, states: tuple[int, ...]) -> LLMRouteError | None:
        """Answer the lines of some states by calls; return why they were stopped, None where they were not."""
        if self._interrupted or not any(map(self._states.count, states)):
            return None
        executor = core.bulk(CONCURRENCY, shared_budget=run.shared_budget)
        taken: list[tuple[int, Request]] = []
        failure: LLMRouteError | None = None

        async def requests() -> AsyncIterator[Options]:
            for index, request in enumerate(self._open_requests()):
                if (state := self._states[index]) in states and not self._interrupted:
                    if isinstance(request.options, RequestError):
                        # A file that it names has changed since.
                        self._fail(index, json.dumps(request.id, ensure_ascii=False), request.options)
                        continue
                    taken.append((index, request))
                    yield replace(request.options, tier=_TIERS[state])

        async for result in generate_many(executor, requests(), concurrency=CONCURRENCY, in_order=True):
            index, request = taken.pop(0)
            line_id, tier = json.dumps(request.id, ensure_ascii=False), _TIERS[self._states[index]] or "standard"
            if result.response is not None:
                assert not isinstance(request.options, RequestError)
                self._states[index] = _FINISHED
                limited = bool(self._limited[index])
                self._results.add_answer(index, line_id, result, tier, limited=limited)
            elif result.error is not None:
                failure = result.error
                self._fail(index, line_id, failure, tier)
        # Lines are left where the budget is spent, or no provider answers: the last error says which.
        return failure if not self._interrupted and any(map(self._states.count, states)) else None

    def _fail(
        self, index: int, line_id: str, error: LLMRouteError, tier: str = BATCH, *, request_id: str | None = None
    ) -> None:
        self._states[index] = _FAILED
        self._results.add_failure(index, line_id, error, tier, request_id)

    def _list_failures(self) -> None:
        """Pass the requests without an answer to `on_failure`; those in jobs may still get one."""
        without = {_FAILED, _NOT_RUN, *_TIERS}
        if self.totals.stopped_by is not None:
            without.add(_TAKE)
        if not any(self._states.count(state) for state in without):
            return
        for index, request in enumerate(self._open_requests()):
            if self._states[index] in without:
                self._on_failure(request, None)
