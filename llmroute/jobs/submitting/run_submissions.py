"""Submit the jobs of a run, and again later what a provider does not take for now."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, BadRequestError, DeadlineError, RateLimitError, TransientError
from llmroute.jobs.run_settings import GIVE_UP_S
from llmroute.jobs.submitting.job_submission import LOOKS, JobSubmission
from llmroute.jobs.submitting.queue import Queues
from llmroute.jobs.vendor import is_certain

if TYPE_CHECKING:
    from llmroute.jobs.context import JobContext
    from llmroute.jobs.lease import RunLease
    from llmroute.jobs.open_jobs import OpenJobs
    from llmroute.jobs.polling import Interval
    from llmroute.ledger.jobs import Job

TOKEN_LIMIT = "token_limit_exceeded"  # noqa: S105 (a code of OpenAI)
"""Too many tokens are enqueued: the job fits when others have ended."""


class RunSubmissions:
    """Submits jobs that are due."""

    def __init__(self, context: JobContext, jobs: OpenJobs, interval: Interval, lease: RunLease) -> None:
        self._context = context
        self._jobs = jobs
        self._interval = interval
        self._submission = JobSubmission(context, lease)
        self._queues = Queues(context)
        # When each job that the provider rejected for now is submitted again, on the clock of the loop.
        self._due_s: dict[str, float] = {}
        # How often the provider has rejected the look for each job that may have been created.
        self._rejected_looks: Counter[str] = Counter()
        # Since when each job that may have been created is looked for, on the clock of the loop.
        self._sought_since_s: dict[str, float] = {}

    async def submit(self) -> None:
        """Submit every job that is due, and end those whose deadline has passed.

        Raises:
            AttemptError: a job that may have been created cannot be looked for.
        """
        now_s = asyncio.get_running_loop().time()
        for job in [*self._jobs.by_id.values()]:
            if job.vendor_id is not None or self._due_s.get(job.id, 0.0) > now_s:
                continue
            if self._context.vendor(job.provider).is_paused:
                continue
            if job.ended:
                # An earlier run has ended it, and not delivered its outcomes.
                await self._fail_again(job)
            # One that may have been created is looked for first.
            elif job.create_begun_ms is not None:
                await self._submit(job)
            elif self._context.now_ms() >= job.deadline_ms:
                await self._fail(job, f"{job.provider} took no batch in time")
            else:
                await self._submit(job)

    async def _fail(self, job: Job, reason: str) -> None:
        await self._jobs.fail(job, TransientError(reason, provider=job.provider))

    async def _fail_cancelled(self, job: Job) -> None:
        await self._fail(job, f"job {job.id} was cancelled before it was submitted")

    async def _fail_again(self, job: Job) -> None:
        if job.phase == "failed" and job.fault is not None:
            await self._jobs.fail(job, BadRequestError(job.fault, provider=job.provider, model=job.model))
        elif job.phase == "failed":
            await self._fail(job, f"{job.provider} took no batch in time")
        else:
            await self._fail_cancelled(job)

    def later(self, job: Job, requested_s: float | None = None) -> None:
        """Submit a job again after the interval, or after as many seconds as the provider asks for."""
        pause_s = max(self._interval.next_s(), requested_s or 0.0)
        self._due_s[job.id] = asyncio.get_running_loop().time() + pause_s

    async def wait_for_room(self, job: Job, reason: str) -> None:
        """Submit a job again that the provider had no room for, for the reason that it gave.

        Raises:
            LedgerError: the journal cannot be read.
        """
        await self._learn_of_full_queue(job, reason)
        self.later(job)

    async def _learn_of_full_queue(self, job: Job, reason: str) -> None:
        self._jobs.note(job.id, f"{job.provider} has no room for the batch yet: {reason}")
        if await self._queues.rejected(job):
            name = f"{job.provider}/{job.model}"
            limit = f'set batch_queue_tokens of [models."{name}"] in config.toml, which cuts jobs to fit'
            again = "then cancel it (llmroute batches cancel) and run the batch again"
            self._jobs.note(job.id, f"no other job of {name} waits: if this one is too large, {limit}, {again}")

    async def _submit(self, job: Job) -> None:
        if job.create_begun_ms is None and not await self._queues.has_room(job):
            self._jobs.note(job.id, f"a batch of {job.lines:,} lines waits for room in the queue of {job.provider}")
            self._due_s[job.id] = asyncio.get_running_loop().time() + self._interval.first_s
            return
        try:
            while job.vendor_id is None:
                before, job = job, await self._submission.step(job)
                self._jobs.by_id[job.id] = job
                if job.ended:
                    await self._fail_cancelled(job)
                    return
                if job == before:
                    # It is looked for, and may be listed later.
                    await self._look_later(job)
                    return
        except AttemptError as error:
            await self._rejected(job, error)
        except FileNotFoundError:
            stored: Job | None = await self._context.run(self._context.journal.job, job.id)
            if stored is not None and stored.ended:
                await self._fail_cancelled(stored)
            else:
                await self._fail(job, f"the lines of job {job.id} are no longer in {self._context.folder}")
        else:
            self._interval.start_anew()

    async def _look_later(self, job: Job, requested_s: float | None = None) -> None:
        """Look for a job again, or submit it; long after its deadline, one that may have been created is lost."""
        if job.create_begun_ms is not None:
            now_s = asyncio.get_running_loop().time()
            sought_s = now_s - self._sought_since_s.setdefault(job.id, now_s)
            if sought_s > GIVE_UP_S and self._context.now_ms() > job.deadline_ms + GIVE_UP_S * 1000:
                message = f"{job.provider} does not show whether it has batch {job.id}, which may have run this request"
                await self._jobs.lose(job, DeadlineError(message))
                return
            self._jobs.note(job.id, f"{job.provider} may have a batch of {job.lines:,} lines: it is looked for")
        self.later(job, requested_s)

    async def _rejected(self, job: Job, error: AttemptError) -> None:
        found: Job | None = await self._context.run(self._context.journal.job, job.id)
        job = self._jobs.by_id[job.id] = found or job
        for_now = not is_certain(error) or not error.sent or isinstance(error, RateLimitError | TransientError)
        if for_now or error.code == TOKEN_LIMIT:
            if error.code == TOKEN_LIMIT:
                await self._learn_of_full_queue(job, error.message)
            else:
                self._jobs.note(job.id, f"{job.provider} does not take the batch yet: {error.message}")
            await self._look_later(job, error.retry_after_s)
        elif job.create_begun_ms is not None:
            # It may exist: it is looked for again, in the end by another run.
            self._rejected_looks[job.id] += 1
            if self._rejected_looks[job.id] >= LOOKS:
                raise error
            self._jobs.note(job.id, f"{job.provider} does not list its batches: {error.message}")
            self.later(job)
        else:
            await self._jobs.fail(job._replace(fault=error.message), error)
