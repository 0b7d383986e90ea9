"""Collect the results of a job that has ended: download, settle each line once, deliver."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import IO, TYPE_CHECKING

from llmroute.errors import AttemptError, BadOutputError, BadRequestError, DeadlineError, ModelGoneError, TransientError
from llmroute.execution.accounting.recorder import record_of
from llmroute.jobs.collecting.outcomes import LineOutcome, Outcomes
from llmroute.ledger.jobs import custom_id, number_of
from llmroute.providers.batch_jobs.job import LineResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from llmroute.errors import LLMRouteError
    from llmroute.jobs.context import JobContext
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.jobs import Job, JobLine
    from llmroute.providers.batch_jobs.job import JobStatus

GROUP = 200
"""Lines that are settled in one transaction."""
DOWNLOADS = 3
"""How often results are downloaded while lines of a complete job are missing from them."""
_RANGE = 1_000


class Collection:
    """Collects one job; `deliver` gets the outcome of each of its lines, after it is settled."""

    def __init__(self, context: JobContext, job: Job, deliver: Callable[[LineOutcome], Awaitable[None]]) -> None:
        self._context = context
        self._job = job
        self._deliver = deliver
        self._outcomes = Outcomes(context, job)
        # The lines with a result, also before the current download, and those whose results all say they were not run.
        self._seen: set[int] = set()
        self._seen_before: frozenset[int] = frozenset()
        self._unrun: set[int] = set()
        self._ran = 0
        self._noise = 0
        self._is_torn = False

    async def collect(self, status: JobStatus, pause_s: float) -> None:
        """Settle and deliver every line of a job that has ended; missing results are downloaded again after `pause_s`.

        Raises:
            AttemptError: the results cannot be downloaded, or are cut off; the lines that were read are settled.
            LedgerError: lines cannot be settled.
            OutputError: the results cannot be stored or delivered.
        """
        context, job = self._context, self._job
        requests = context.vendor(job.provider).api.render_results(status)
        noise = 0
        for number in range(DOWNLOADS):
            if number:
                await asyncio.sleep(pause_s)
            self._is_torn, self._noise, self._seen_before = False, 0, frozenset(self._seen)
            for request in requests:
                with await context.downloaded(job, request) as file:
                    await self._read(file, _not_run(job, status))
            noise = max(noise, self._noise)
            if self._is_whole(status):
                break
        if noise:
            context.note(f"{job.provider} job {job.id}: {noise} results have unknown or repeated ids or no form")
        # The status may say that a job has ended before it names its results.
        has_run = status.state == "done" or (status.succeeded or 0) + (status.failed or 0) > 0
        if (requests or has_run) and self._is_cut(status):
            raise BadOutputError("its results are cut off", provider=job.provider)
        await self._settle_unrun(_not_run(job, status))
        is_lost = status.state == "done" or not self._is_whole(status)
        await self._end(_lost(job, status) if is_lost else _why_not_run(job, status), is_lost=is_lost)

    def _is_whole(self, status: JobStatus) -> bool:
        """Whether the results that were read are all that there are, as far as the job says."""
        succeeded, failed = status.succeeded or 0, status.failed or 0
        least = self._job.lines if status.state == "done" else min(succeeded + failed, self._job.lines)
        found = len(self._seen) + len(self._unrun)
        return not self._is_torn and found >= least and self._ran >= min(succeeded, self._job.lines)

    def _is_cut(self, status: JobStatus) -> bool:
        """Whether lines have no result, and the results or the counts of the job show that there is more."""
        found, lines = len(self._seen) + len(self._unrun), self._job.lines
        is_less = self._is_torn or not found or self._ran < min(status.succeeded or 0, lines)
        return found < lines and is_less

    async def fail(self, error: LLMRouteError) -> None:
        """Release every line of a job that was not run, and deliver the error for each."""
        await self._end(error, is_lost=False)

    async def lose(self, error: LLMRouteError) -> None:
        """Settle every line of a job whose results are lost, and deliver the error for each."""
        await self._end(error, is_lost=True)

    async def _read(self, file: IO[bytes], not_run: LLMRouteError) -> None:
        group: list[tuple[int, LineResult]] = []
        for n, result in self._results(file):
            if n in self._seen:
                self._noise += n not in self._seen_before
                continue
            if result.unrun:
                # Another result of the line may be an answer.
                self._unrun.add(n)
                continue
            self._unrun.discard(n)
            self._seen.add(n)
            self._ran += 1
            group.append((n, result))
            if len(group) >= GROUP:
                await self._settle(group, not_run)
                group = []
        await self._settle(group, not_run)

    def _results(self, file: IO[bytes]) -> Iterator[tuple[int, LineResult]]:
        """Yield the results in a file by the numbers of their lines."""
        api = self._context.vendor(self._job.provider).api
        # Lines end at line feeds only: an answer may contain other separators of Unicode.
        for raw in file:
            if not raw.strip():
                continue
            try:
                result = api.parse_result(raw)
            except ValueError:
                self._noise += 1
                self._is_torn = self._is_torn or not raw.endswith(b"\n")
                continue
            n = number_of(self._job.id, result.custom_id)
            if n is None:
                self._noise += 1
            else:
                yield n, result

    async def _settle_unrun(self, not_run: LLMRouteError) -> None:
        numbers = sorted(self._unrun)
        self._seen |= self._unrun
        for first in range(0, len(numbers), GROUP):
            group = numbers[first : first + GROUP]
            await self._settle([(n, LineResult(custom_id(self._job.id, n), unrun=True)) for n in group], not_run)

    async def _settle(self, group: list[tuple[int, LineResult]], not_run: LLMRouteError) -> None:
        """Settle lines in one transaction, then deliver them."""
        if not group:
            return
        context, job, results = self._context, self._job, dict(group)
        rows = await self._rows([*results])
        for unknown in results.keys() - {line.n for line, _ in rows}:
            self._seen.discard(unknown)
            self._ran -= not results[unknown].unrun
            self._noise += 1
        judged = await context.run(self._outcomes.judge, {line.n: results[line.n] for line, _ in rows})
        reserved = [(line, row) for line, row in rows if line.state == "reserved"]
        ends = [self._outcomes.settle(line, row, judged[line.n], not_run) for line, row in reserved]
        watch = context.writer.budget_warnings.watch([end.row for end in ends])
        settled = await context.run(context.journal.settle, job.id, ends, watch)
        if watch is not None:
            context.writer.budget_warnings.warn_of(watch)
        if context.shared_budget is not None:
            for end, is_new in zip(ends, settled, strict=True):
                if is_new:
                    context.shared_budget.pay(end.row)
        for line, row in rows:
            await self._deliver(self._outcomes.outcome(line, row, judged[line.n], not_run))

    async def _end(self, error: LLMRouteError, *, is_lost: bool) -> None:
        """Settle the lines without a result, and deliver an error for each."""
        context, job = self._context, self._job
        before = await context.run(context.journal.sums, job.id)
        # A line of a complete job without a result may have been run.
        end = context.journal.lose if is_lost else context.journal.release
        await context.run(end, job.id, error.kind, self._context.now_ms())
        if context.shared_budget is not None:
            after = await context.run(context.journal.sums, job.id)
            context.shared_budget.exchange(before.reserved_picousd, after.cost_picousd - before.cost_picousd)
        first, found = 0, 0
        while found < job.lines:
            lines = await context.run(context.journal.lines, job.id, first, first + _RANGE - 1)
            first += _RANGE
            found += len(lines)
            left = [line for line in lines if line.n not in self._seen]
            rows = await self._rows([line.n for line in left]) if is_lost else []
            attempts = {line.n: row for line, row in rows}
            for line in left:
                await self._deliver(_unanswered(line, attempts.get(line.n), error, is_lost=is_lost))

    async def _rows(self, numbers: Sequence[int]) -> list[tuple[JobLine, AttemptRow]]:
        return await self._context.run(lambda: [*self._context.journal.rows(self._job.id, numbers)])


def _unanswered(line: JobLine, row: AttemptRow | None, error: LLMRouteError, *, is_lost: bool) -> LineOutcome:
    """Return the outcome of a line without a result; the possible cost of a lost one is that of its `row`."""
    can_rescue = isinstance(error, DeadlineError) or (not is_lost and isinstance(error, TransientError))
    own = copy(error)
    own.attempts = () if row is None else (record_of(row),)
    return LineOutcome(line.position, line.line_id, None, own, can_rescue, None if row is None else row.request_id)


def _why_not_run(job: Job, status: JobStatus) -> LLMRouteError:
    """Return the error of the lines of a job that have no result."""
    if status.state == "failed":
        return job_error(job, status)
    return _not_run(job, status)


def _lost(job: Job, status: JobStatus) -> LLMRouteError:
    """Return the error of the lines that may have been run, and have no result."""
    message = f"{job.provider} batch {status.vendor_id} has no result for this request"
    return BadOutputError(message, provider=job.provider)


def _not_run(job: Job, status: JobStatus) -> LLMRouteError:
    """Return the error of the lines that were not run."""
    name = f"{job.provider} batch {status.vendor_id}"
    if status.state == "cancelled" and (job.cancel_ms is None or job.cancel_ms < job.deadline_ms):
        return TransientError(f"{name} was cancelled before it ran this request", provider=job.provider)
    return DeadlineError(f"{name} did not run this request in time")


def job_error(job: Job, status: JobStatus) -> AttemptError:
    """Return the error of a job that failed as a whole, by the code of its first fault."""
    code, message = status.faults[0] if status.faults else ("", "no reason is given")
    kind = ModelGoneError if code == "model_not_found" else BadRequestError
    text = f"{job.provider} rejected the batch: {message}"
    return kind(text, provider=job.provider, model=job.model, code=code or None)
