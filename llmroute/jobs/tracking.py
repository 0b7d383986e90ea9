"""Follow submitted jobs to their end: query them, cancel those that are late, and collect those that have ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmroute.errors import (
    AttemptError,
    AuthenticationError,
    BadOutputError,
    DeadlineError,
    QuotaError,
    RateLimitError,
    TransientError,
)
from llmroute.jobs.polling import poll
from llmroute.jobs.run_settings import GIVE_UP_S
from llmroute.jobs.submitting.job_submission import LOOKS
from llmroute.jobs.submitting.run_submissions import TOKEN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llmroute.jobs.context import JobContext
    from llmroute.jobs.open_jobs import OpenJobs
    from llmroute.jobs.submitting.run_submissions import RunSubmissions
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus

LOST_S = 300.0
"""How long a provider must not know a job before it counts as lost: a new one may not be known at once."""
UNREADABLE_S = 600.0
"""How long results that are cut off, or whose download the provider rejects, are downloaded again."""
_PASSING = (AuthenticationError, QuotaError, RateLimitError, TransientError)
"""The errors of requests that are rejected for our key, our account or the moment."""


class Tracking:
    """Follows the jobs of a run; results that miss lines are downloaded again after `pause_s`."""

    def __init__(self, context: JobContext, jobs: OpenJobs, submitter: RunSubmissions, pause_s: float) -> None:
        self._context = context
        self._jobs = jobs
        self._submitter = submitter
        self._pause_s = pause_s
        # Since when the provider does not know each job, or its whole results, on the clock of the loop.
        self._unknown_since_s: dict[str, float] = {}
        self._unreadable_since_s: dict[str, float] = {}
        # How often in a row the providers of all jobs have rejected our keys.
        self._rejections = 0
        self._begun_ms = self._context.now_ms()

    async def look(self) -> None:
        """Query the jobs once; cancel those that are late, and collect those that have ended.

        Raises:
            AttemptError: a provider cannot be queried, or results cannot be downloaded, long after the deadline; or the
                providers of all jobs reject our keys.
        """
        submitted = [job for job in self._jobs.by_id.values() if job.vendor_id is not None]
        await self._cancel_late(submitted)
        polled = await poll(self._context, submitted)
        for name, error in polled.errors.items():
            self._jobs.note(name, f"{name} cannot be queried: {error.message}")
            if all(map(self._is_overdue, self._jobs.by_id.values())):
                raise error
        now_s = asyncio.get_running_loop().time()
        for job in polled.lost:
            if now_s - self._unknown_since_s.setdefault(job.id, now_s) >= LOST_S:
                message = f"{job.provider} no longer knows batch {job.vendor_id}"
                await self._jobs.lose(job, TransientError(message, provider=job.provider))
        self._jobs.statuses |= polled.found
        for job_id, status in polled.found.items():
            self._unknown_since_s.pop(job_id, None)
            job = self._jobs.by_id[job_id]
            if (unread := await self._update(job, status)) is not None:
                polled.errors[job.provider] = unread
        self._require_key(polled.errors)

    def _require_key(self, errors: Mapping[str, AttemptError]) -> None:
        """Raise the error of a provider where those of all jobs have rejected our keys several times in a row."""
        found = [errors.get(job.provider) for job in self._jobs.by_id.values()]
        rejections = [error for error in found if isinstance(error, AuthenticationError)]
        self._rejections = self._rejections + 1 if rejections and rejections == found else 0
        if self._rejections >= LOOKS:
            raise rejections[0]

    async def _cancel_late(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.cancel_ms is not None or job.ended or self._context.now_ms() < job.deadline_ms:
                continue
            vendor = self._context.vendor(job.provider)
            if vendor.is_paused:
                continue
            try:
                await vendor.call(vendor.api.render_cancel(job.vendor_id or ""))
            except AttemptError as error:
                # Unless its status shows that it has ended, it is cancelled again at the next look.
                self._jobs.note(job.id, f"{job.provider} does not cancel batch {job.vendor_id}: {error.message}")
                continue
            await self._jobs.save(job._replace(cancel_ms=self._context.now_ms()))
            late = f"{job.provider} batch {job.vendor_id} is late and is being cancelled"
            self._jobs.note(job.id, f"{late}; its end is waited for, an hour at most")

    def _is_overdue(self, job: Job) -> bool:
        """Whether the end of a job was waited for since it was cancelled at its deadline, and is no longer."""
        return self._context.now_ms() > max(job.deadline_ms, job.cancel_ms or self._begun_ms) + GIVE_UP_S * 1000

    def _had_no_room(self, job: Job, status: JobStatus) -> bool:
        """Whether a job failed for the limit on enqueued tokens, and ran nothing."""
        if status.state != "failed" or all(fault.code != TOKEN_LIMIT for fault in status.faults):
            return False
        return not self._context.vendor(job.provider).api.render_results(status)

    async def _update(self, job: Job, status: JobStatus) -> AttemptError | None:
        """Save or end a job by its status; return the error of results that cannot be read for now."""
        if not status.ended and self._is_overdue(job):
            late = f"{job.provider} batch {job.vendor_id} did not end in time, and may have run this request"
            await self._jobs.lose(job, DeadlineError(late))
            return None
        if not status.ended:
            if status.state != job.phase and not job.ended:
                await self._jobs.save(job.moved(status.state))
            return None
        if self._had_no_room(job, status):
            again = job.moved("submitting")._replace(vendor_id=None, create_begun_ms=None, submitted_ms=None)
            await self._submitter.wait_for_room(await self._jobs.save(again), status.faults[0].message)
            return None
        if job.phase != status.state and not job.ended:
            fault = status.faults[0].message if status.faults else None
            job = await self._jobs.save(job.moved(status.state)._replace(fault=fault))
        return await self._collect(job, status)

    async def _collect(self, job: Job, status: JobStatus) -> AttemptError | None:
        """Collect a job that has ended; return the error of results that cannot be read for now."""
        try:
            await self._jobs.collect(job, status, self._pause_s)
        except AttemptError as error:
            self._jobs.note(
                job.id, f"the results of {job.provider} batch {job.vendor_id} are not read: {error.message}"
            )
            if _has_no_results(error):
                now_s = asyncio.get_running_loop().time()
                if now_s - self._unreadable_since_s.setdefault(job.id, now_s) >= UNREADABLE_S:
                    message = f"{job.provider} batch {job.vendor_id} has no whole results"
                    await self._jobs.lose(job, BadOutputError(message, provider=job.provider))
            elif self._is_overdue(job):
                raise
            return error
        return None


def _has_no_results(error: AttemptError) -> bool:
    """Whether a download failed since its results are cut off, or as it would at any other time."""
    rejected = 400 <= (error.http_status or 0) < 500  # noqa: PLR2004 (statuses)
    return isinstance(error, BadOutputError) or (rejected and not isinstance(error, _PASSING))
