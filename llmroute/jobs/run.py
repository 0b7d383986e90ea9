"""One run of batch jobs: lines in, jobs submitted once, outcomes out, resumed after anything."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from llmroute.bulk.plan_cache import PlanCache
from llmroute.errors import AttemptError, BudgetExceededError, RateLimitError, RequestError, TransientError
from llmroute.execution.prepare import begun_ms, new_id, now_ms, rendered
from llmroute.jobs.collection import Collection
from llmroute.jobs.drafts import draft
from llmroute.jobs.intake import Intake, Run
from llmroute.jobs.polling import Interval, poll
from llmroute.jobs.run_settings import MOST_WITHIN_S
from llmroute.jobs.submission import Submission
from llmroute.jobs.vendor import is_certain
from llmroute.text.option_names import OptionText, Remedy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from llmroute.errors import LLMRouteError
    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.jobs.outcomes import LineOutcome
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.jobs.tools import JobTools
    from llmroute.ledger.jobs import Job, PlacedLine
    from llmroute.providers.batch_jobs.job import JobStatus
    from llmroute.request.options import Options
    from llmroute.routing.plan import Plan

TOKEN_LIMIT = "token_limit_exceeded"  # noqa: S105 (a code of OpenAI)
"""The job failed because too many tokens are enqueued: it fits when others have ended."""
LOST_AFTER = 3
"""How often in a row a provider must not know a job before it counts as lost."""
GIVE_UP_S = 3_600
"""How long after the deadline the end of a cancelled job is waited for."""


class RunProgress(NamedTuple):
    """Jobs and lines of a run; `reported` lines have ended at the provider, by its own count; times in seconds."""

    jobs: int
    open_jobs: int
    reported: int
    age_s: float
    left_s: float


class JobRun:
    """One run.  `deliver` gets each outcome after it is settled, `on_progress` the state after each query.

    Attributes:
        stopped_by: why no more lines are taken, None while they are.
        refused: the positions of lines that were not taken because of that.
    """

    def __init__(
        self,
        tools: JobTools,
        settings: RunSettings,
        deliver: Callable[[LineOutcome], Awaitable[None]],
        on_progress: Callable[[RunProgress], None],
    ) -> None:
        self._tools = tools
        self._settings = settings
        self._deliver = deliver
        self._on_progress = on_progress
        self._plans = PlanCache(tools.factory, tools.resources.threads(), paced=True)
        self._submission = Submission(tools)
        self._interval = Interval(settings.poll_s)
        self._jobs: dict[str, Job] = {}
        self._statuses: dict[str, JobStatus] = {}
        # When each job that the provider rejected for now is submitted again, on the clock of the loop.
        self._due_s: dict[str, float] = {}
        self._unknown: Counter[str] = Counter()
        self._noted: set[str] = set()
        self._run: Run | None = None
        self._intake: Intake | None = None
        self._interrupted = asyncio.Event()
        self.stopped_by: LLMRouteError | None = None
        self.refused: list[int] = []

    @property
    def shared_budget(self) -> SharedBudget | None:
        """What the run may spend, None without a budget."""
        return self._tools.shared_budget

    async def plan(self, options: Options) -> Plan:
        """Return the plan of a request.

        Raises:
            LLMRouteError: no model can be tried; the class says why.
        """
        request = await rendered(options, self._tools.resources.threads(), streaming=False)
        return (await self._plans.plan(request, self._tools.factory.begin(options, paced=True))).plan

    async def begin(self) -> None:
        """Find what an earlier run of the same output left.

        Raises:
            RequestError: it is not to be resumed, or was started with another input or other options.
            LedgerError: the journal cannot be read.
        """
        tools, settings = self._tools, self._settings
        earlier: list[Job] = []
        if settings.output is not None:
            earlier = await tools.run(lambda: tools.journal.jobs(output=settings.output))
        left = [job for job in earlier if job.delivered_ms is None]
        if left:
            self._require_same(left[-1])
        for job in left:
            if not job.sealed:
                await tools.run(tools.journal.drop, job.id, now_ms())
                tools.input_path(job.id).unlink(missing_ok=True)
        self._jobs = {job.id: job for job in left if job.sealed}
        if self._jobs:
            last = next(reversed(self._jobs.values()))
            self._run = Run(settings, last.run, last.deadline_ms)
        else:
            within_s = settings.within_s or MOST_WITHIN_S
            run_id = new_id()
            self._run = Run(settings, run_id, begun_ms(run_id) + round(within_s * 1000))
        self._intake = Intake(tools, self._run)
        if tools.shared_budget is not None:
            for job_id in self._jobs:
                sums = await tools.run(tools.journal.sums, job_id)
                tools.shared_budget.exchange(-sums.reserved_picousd, sums.cost_picousd)
        for job in earlier:
            if job.delivered_ms is not None and job.cleaned_ms is None:
                await self._clean(job, None)

    def _require_same(self, job: Job) -> None:
        settings = self._settings
        if not settings.resume:
            hint = OptionText(Remedy("resume"), " goes on with them")
            raise RequestError(f"{settings.output} has batch jobs that are not collected", hint=hint)
        if job.input_digest != settings.input_digest:
            raise RequestError("the input is not the one that the batch jobs were made from", option="resume")
        if job.options_digest != settings.options_digest:
            raise RequestError("the options are not those that the batch jobs were made with", option="resume")
        if settings.within_s is not None and round(settings.within_s * 1000) != job.deadline_ms - begun_ms(job.run):
            raise RequestError("the batch jobs were made with another deadline", option="resume")

    async def placed(self, first: int, last: int) -> dict[int, PlacedLine]:
        """Return the lines of the run that are in jobs already, by position, from `first` to `last`."""
        assert self._run is not None
        return await self._tools.run(self._tools.journal.placed, self._run.id, first, last)

    def is_open(self, placed: PlacedLine) -> bool:
        """Whether the job of a line is still to be delivered."""
        return placed.job in self._jobs

    @property
    def interrupted(self) -> bool:
        """Whether the run was told to stop."""
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """Stop soon: what was submitted stays so."""
        self._interrupted.set()

    async def take(self, position: int, line_id: str, options: Options) -> None:
        """Take a line, once the budget has room for it.

        Raises:
            LLMRouteError: the line cannot be taken; where no other can be, `stopped_by` is set.
        """
        assert self._intake is not None
        request = await rendered(options, self._tools.resources.threads(), streaming=False)
        plan = (await self._plans.plan(request, self._tools.factory.begin(options, paced=True))).plan
        while True:
            try:
                made = draft(self._tools, position, line_id, request, plan)
                break
            except BudgetExceededError as refusal:
                if refusal.of_request:
                    raise
                await self._intake.seal()
                await self._submit()
                if not self._jobs or not self._settings.wait or self.interrupted:
                    self.stopped_by = refusal
                    raise
                await self._round()
        await self._intake.take(made)
        await self._submit()

    async def finish(self) -> None:
        """Submit what was taken, and unless the run does not wait, see every job to its end.

        Raises:
            LLMRouteError: the run cannot go on; `--resume` can.
        """
        assert self._intake is not None
        await self._intake.seal()
        await self._submit()
        if not self._settings.wait:
            await self._look()
            while any(job.vendor_id is None for job in self._jobs.values()) and not self.interrupted:
                await self._round()
            return
        while self._jobs and not self.interrupted:
            await self._look()
            if self._jobs:
                await self._pause()
                await self._submit()

    async def _round(self) -> None:
        await self._pause()
        await self._submit()
        await self._look()

    async def _pause(self) -> None:
        asked = [self._tools.vendor(job.provider).poll_after_s or 0.0 for job in self._jobs.values()]
        pause_s = self._interval.next_s(max(asked, default=None))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._interrupted.wait()

    async def _submit(self) -> None:
        """Submit the jobs that are sealed, and those that are due again."""
        assert self._intake is not None
        for job in self._intake.sealed:
            self._jobs[job.id] = job
        self._intake.sealed.clear()
        for made, refusal in self._intake.refused:
            self.stopped_by = refusal
            self.refused.append(made.position)
        self._intake.refused.clear()
        now_s = asyncio.get_running_loop().time()
        for job in [*self._jobs.values()]:
            if job.vendor_id is None and self._due_s.get(job.id, 0.0) <= now_s and not await self._is_too_late(job):
                await self._submit_one(job)

    async def _submit_one(self, job: Job) -> None:
        try:
            while job.vendor_id is None:
                before, job = job, await self._submission.step(job)
                self._jobs[job.id] = job
                if job == before:
                    # It is looked for, and may be listed later.
                    self._wait_for(job)
                    return
        except AttemptError as error:
            job = await self._known(job)
            self._jobs[job.id] = job
            for_now = not is_certain(error) or not error.sent or isinstance(error, RateLimitError | TransientError)
            if for_now or error.code == TOKEN_LIMIT:
                self._note(job, f"{job.provider} does not take the batch yet: {error.message}")
                self._wait_for(job, error.retry_after_s)
                return
            await self._finish_failed(job._replace(fault=error.message), error)
        else:
            self._interval.start_anew()

    async def _known(self, job: Job) -> Job:
        """Return a job as the journal has it."""
        found: Job | None = await self._tools.run(self._tools.journal.job, job.id)
        return found or job

    def _wait_for(self, job: Job, asked_s: float | None = None) -> None:
        pause_s = max(self._interval.next_s(), asked_s or 0.0)
        self._due_s[job.id] = asyncio.get_running_loop().time() + pause_s

    async def _is_too_late(self, job: Job) -> bool:
        """End a job that was not submitted by its deadline; one that may have been is looked for first."""
        if now_ms() < job.deadline_ms or job.create_begun_ms is not None:
            return False
        error = TransientError(f"{job.provider} took no batch in time", provider=job.provider)
        await self._finish_failed(job, error)
        return True

    async def _finish_failed(self, job: Job, error: LLMRouteError) -> None:
        await Collection(self._tools, job, self._deliver).fail(error)
        await self._delivered(job.moved("failed"), None)

    async def _look(self) -> None:
        """Query the jobs once; cancel those that are late, and collect those that have ended."""
        submitted = [job for job in self._jobs.values() if job.vendor_id is not None]
        await self._cancel_late(submitted)
        polled = await poll(self._tools, submitted)
        for name, error in polled.errors.items():
            self._note(name, f"{name} cannot be queried: {error.message}")
            self._give_up_late(error)
        for job in polled.lost:
            self._unknown[job.id] += 1
            if self._unknown[job.id] >= LOST_AFTER:
                await self._lose(job)
        self._statuses |= polled.found
        for job_id, status in polled.found.items():
            self._unknown.pop(job_id, None)
            await self._update(self._jobs[job_id], status)
        self._report()

    async def _cancel_late(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.cancel_ms is not None or job.ended or now_ms() < job.deadline_ms:
                continue
            vendor = self._tools.vendor(job.provider)
            try:
                await vendor.call(vendor.api.render_cancel(job.vendor_id or ""))
            except AttemptError as error:
                if not is_certain(error):
                    continue
            await self._save(job._replace(cancel_ms=now_ms()))

    def _give_up_late(self, error: AttemptError) -> None:
        """Raise the error of a query long after the deadline of every job."""
        latest_ms = max((job.deadline_ms for job in self._jobs.values()), default=0)
        if now_ms() > latest_ms + GIVE_UP_S * 1000:
            raise error

    async def _lose(self, job: Job) -> None:
        error = TransientError(f"{job.provider} no longer knows batch {job.vendor_id}", provider=job.provider)
        await Collection(self._tools, job, self._deliver).lose(error)
        await self._delivered(job if job.ended else job.moved("failed"), None)

    async def _update(self, job: Job, status: JobStatus) -> None:
        if not status.ended:
            if status.state != job.phase and not job.ended:
                await self._save(job.moved(status.state))
            return
        if status.state == "failed" and any(fault.code == TOKEN_LIMIT for fault in status.faults):
            await self._submit_again(job, status)
            return
        if job.phase != status.state and not job.ended:
            fault = status.faults[0].message if status.faults else None
            job = await self._save(job.moved(status.state)._replace(fault=fault))
        try:
            await Collection(self._tools, job, self._deliver).collect(status, self._settings.poll_s or 1.0)
        except AttemptError as error:
            self._note(job, f"the results of {job.provider} batch {job.vendor_id} cannot be read: {error.message}")
            self._give_up_late(error)
            return
        await self._delivered(job, status)

    async def _submit_again(self, job: Job, status: JobStatus) -> None:
        self._note(job, f"{job.provider} has no room for the batch yet: {status.faults[0].message}")
        again = job.moved("submitting")._replace(vendor_id=None, create_begun_ms=None, submitted_ms=None)
        self._wait_for(await self._save(again))

    async def _delivered(self, job: Job, status: JobStatus | None) -> None:
        """Note that all outcomes of a job were delivered, then clean up after it."""
        job = await self._save(job._replace(delivered_ms=now_ms()))
        del self._jobs[job.id]
        self._statuses.pop(job.id, None)
        await self._clean(job, status)

    async def _clean(self, job: Job, status: JobStatus | None) -> None:
        """Delete what a delivered job left here, and at the provider unless it is to be kept."""
        self._tools.input_path(job.id).unlink(missing_ok=True)
        vendor = self._tools.vendor(job.provider)
        if not self._settings.keep:
            try:
                if status is None and job.vendor_id is not None:
                    status = await vendor.status(job.vendor_id)
                if status is not None:
                    requests = vendor.api.render_deletions(status)
                else:
                    requests = () if job.file_id is None else (vendor.api.render_file_deletion(job.file_id),)
            except AttemptError as error:
                self._note(job, f"files at {job.provider} could not be deleted: {error.message}")
                return
            for request in requests:
                with suppress(AttemptError):
                    await vendor.call(request)
        await self._tools.run(self._tools.journal.save, job._replace(cleaned_ms=now_ms()))

    async def _save(self, job: Job) -> Job:
        await self._tools.run(self._tools.journal.save, job)
        self._jobs[job.id] = job
        return job

    def _note(self, about: Job | str, text: str) -> None:
        """Pass a note on once for each job or provider."""
        key = f"{about if isinstance(about, str) else about.id} {text}"
        if key not in self._noted:
            self._noted.add(key)
            self._tools.note(text)

    def _report(self) -> None:
        reported = sum((status.succeeded or 0) + (status.failed or 0) for status in self._statuses.values())
        begun_ms = min((job.created_ms for job in self._jobs.values()), default=now_ms())
        assert self._run is not None
        left_s = self._run.deadline_ms / 1000 - time.time()
        age_s = (now_ms() - begun_ms) / 1000
        self._on_progress(RunProgress(len(self._jobs), len(self._jobs), reported, age_s, max(left_s, 0.0)))
