"""One run of batch jobs: lines in, jobs submitted once, outcomes out, resumed after anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from llmroute.bulk.plan_cache import PlanCache
from llmroute.errors import BudgetExceededError
from llmroute.execution.prepare import rendered
from llmroute.jobs.earlier_runs import beginning
from llmroute.jobs.lease import RunLease
from llmroute.jobs.line_schemas import class_name
from llmroute.jobs.open_jobs import OpenJobs
from llmroute.jobs.polling import Interval
from llmroute.jobs.submitting.drafts import draft
from llmroute.jobs.submitting.intake import Intake, Run
from llmroute.jobs.submitting.run_submissions import RunSubmissions
from llmroute.jobs.tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmroute.errors import LLMRouteError
    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.context import JobContext
    from llmroute.jobs.earlier_runs import IsCounted
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.ledger.jobs import PlacedLine
    from llmroute.request.options import Options
    from llmroute.routing.plan import Plan


class RunProgress(NamedTuple):
    """The open jobs of a run; `reported` lines have ended at the provider, by its own count; times in seconds."""

    jobs: int
    reported: int
    age_s: float
    left_s: float


class JobRun:
    """One run.  `deliver` gets each outcome after it is settled, `on_progress` the state after each query.

    `secure` is called before a job counts as delivered: what was delivered must not be lost any more.

    Attributes:
        stopped_by: why no more lines are taken, None while they are.
        refused: the positions of lines that were not taken because of that.
    """

    def __init__(
        self,
        context: JobContext,
        settings: RunSettings,
        deliver: Callable[[LineOutcome], Awaitable[None]],
        on_progress: Callable[[RunProgress], None],
        secure: Callable[[], None] | None = None,
    ) -> None:
        self._context = context
        self._settings = settings
        self._on_progress = on_progress
        self._plans = PlanCache(context.factory, context.resources.threads(), paced=True)
        self._interval = Interval(settings.poll_s)
        self._jobs = OpenJobs(context, deliver, secure, keep=settings.keep, confirms=settings.confirms)
        self._lease = RunLease(context, settings, self.interrupt)
        self._submitter = RunSubmissions(context, self._jobs, self._interval, self._lease)
        self._tracking = Tracking(context, self._jobs, self._submitter, settings.poll_s or 1.0)
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._before: str | None = None
        self._interrupted = asyncio.Event()
        self.stopped_by: LLMRouteError | None = None
        self.refused: list[int] = []

    @property
    def shared_budget(self) -> SharedBudget | None:
        """The budget that the lines of the run share, None without one."""
        return self._context.shared_budget

    async def plan(self, options: Options) -> Plan:
        """Return the plan of a request.

        Raises:
            LLMRouteError: no model can be tried; the class says why.
        """
        request = await rendered(options, self._context.resources.threads(), streaming=False)
        return (await self._plans.plan(request, self._context.factory.begin(options, paced=True))).plan

    async def begin(self, is_counted: IsCounted = lambda _position, _request_id: False) -> None:
        """Find what an earlier run of the same output left.

        `is_counted` is that of `beginning`.

        Raises:
            RequestError: it is not to be resumed, was started with another input or other options, or continues in
                another process.
            LedgerError: the journal cannot be read or written.
        """
        await self._lease.take()
        begun = await beginning(self._context, self._settings, is_counted)
        self._run, self._intake = begun.run, Intake(self._context, begun.run)
        self._before = begun.before
        self._jobs.by_id |= begun.jobs
        for job in begun.uncleaned:
            await self._jobs.clean(job)

    async def placed(self, first: int, last: int) -> dict[int, PlacedLine]:
        """Return the lines of the run that are in jobs already, by position, from `first` to `last`."""
        assert self._run is not None
        return await self._context.run(self._context.journal.placed, self._run.id, first, last)

    async def unanswered_before(self, first: int, last: int) -> set[int]:
        """Return the positions of lines, from `first` to `last`, that the run before has left for a rescue."""
        if self._before is None:
            return set()
        placed = await self._context.run(self._context.journal.placed, self._before, first, last)
        return {position for position, line in placed.items() if line.state in ("unanswered", "rejected")}

    def is_open(self, placed: PlacedLine) -> bool:
        """Whether the job of a line is still to be delivered."""
        return placed.job in self._jobs.by_id

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped."""
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """Stop soon: submitted jobs continue at their providers."""
        self._interrupted.set()

    async def take(self, position: int, line_id: str, options: Options) -> None:
        """Take a line, once the budget has room for it.

        Raises:
            LLMRouteError: the line cannot be taken; where no other can be, `stopped_by` is set.
        """
        assert self._intake is not None
        request = await rendered(options, self._context.resources.threads(), streaming=False)
        plan = (await self._plans.plan(request, self._context.factory.begin(options, paced=True))).plan
        while True:
            try:
                made = draft(self._context, position, line_id, request, plan)
                break
            except BudgetExceededError as refusal:
                if refusal.of_request:
                    raise
                await self._intake.seal()
                await self._submit()
                if not self._jobs.by_id or not self._settings.wait or self.interrupted:
                    self.stopped_by = refusal
                    raise
                await self._round()
        await self._intake.take(made)
        await self._submit()

    async def finish(self) -> None:
        """Submit what was taken, and unless the run does not wait, see every job to its end.

        Raises:
            LLMRouteError: the run failed; `--resume` continues it.
        """
        assert self._intake is not None
        await self._intake.seal()
        await self._submit()
        if not self._settings.wait:
            await self._look()
            while any(job.vendor_id is None for job in self._jobs.by_id.values()) and not self.interrupted:
                await self._round()
            return
        while self._jobs.by_id and not self.interrupted:
            await self._look()
            if self._jobs.by_id:
                await self._pause()
                await self._submit()
        self._lease.require()
        if not (self._jobs.is_clean or self.interrupted):
            self._interval.start_anew()
            await self._pause()
            await self._jobs.clean_again()

    async def confirm(self) -> None:
        """Note that the outcomes of all jobs were delivered, and delete what they left.

        Raises:
            LedgerError: the journal cannot be written.
        """
        assert self._run is not None
        await self._jobs.confirm(self._run.id)

    def know(self, model: type) -> None:
        """Register a pydantic class, so that answers to lines of an earlier process become instances of it."""
        self._context.classes[class_name(model)] = model

    async def end(self) -> None:
        """Release the run, so that another process can continue it."""
        self._jobs.note_unclean()
        await self._lease.end()

    async def _round(self) -> None:
        await self._pause()
        await self._submit()
        await self._look()

    async def _pause(self) -> None:
        waits_s = [self._context.vendor(job.provider).poll_after_s or 0.0 for job in self._jobs.by_id.values()]
        pause_s = self._interval.next_s(max(waits_s, default=None))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._interrupted.wait()

    async def _submit(self) -> None:
        """Submit the jobs that are sealed, and those that are due again."""
        assert self._intake is not None
        self._jobs.by_id |= {job.id: job for job in self._intake.sealed}
        self._intake.sealed.clear()
        for made, refusal in self._intake.refused:
            self.stopped_by = refusal
            self.refused.append(made.position)
        self._intake.refused.clear()
        await self._submitter.submit()

    async def _look(self) -> None:
        await self._tracking.look()
        self._report()

    def _report(self) -> None:
        assert self._run is not None
        jobs = [*self._jobs.by_id.values()]
        statuses = self._jobs.statuses.values()
        reported = sum((status.succeeded or 0) + (status.failed or 0) for status in statuses)
        age_s = (self._context.now_ms() - min((job.created_ms for job in jobs), default=self._context.now_ms())) / 1000
        left_s = max((self._run.deadline_ms - self._context.now_ms()) / 1000, 0.0)
        self._on_progress(RunProgress(len(jobs), reported, age_s, left_s))
