"""Submit a sealed job once: upload its lines, create it at the provider, and find it again after a lost response."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from llmroute.errors import AttemptError, BadOutputError
from llmroute.jobs.vendor import NOT_FOUND, is_certain
from llmroute.ledger.jobs import number_of
from llmroute.providers.batch_jobs.job import record
from llmroute.transport.network.send_progress import Progress
from llmroute.types import Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmroute.jobs.context import JobContext
    from llmroute.jobs.lease import RunLease
    from llmroute.jobs.vendor import Vendor
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus
    from llmroute.types import HTTPRequest

T = TypeVar("T")

LOOKS = 3
LOOK_S = 60.0
"""How often, and how long, a job or its file is looked for before it is made again: a new one may be listed later."""
_CLOCK_SLACK_S = 60


class JobSubmission:
    """Submits jobs of a run.  One step at a time, each after it is written down; `step` says what is next."""

    def __init__(self, context: JobContext, lease: RunLease) -> None:
        self._context = context
        self._lease = lease
        # How often each job of unknown fate, or its file, was not found, by when it may have been made, and since when
        # on the clock of the loop.
        self._looks: Counter[tuple[str, int]] = Counter()
        self._looked_since_s: dict[tuple[str, int], float] = {}
        # Jobs at the provider that turned out to be another's.
        self._others: set[str] = set()

    async def step(self, job: Job) -> Job:
        """Bring a job one step closer to its submission; return it as it is then.

        Raises:
            AttemptError: the provider rejects it, or cannot be reached; `is_certain` says whether it may exist.
        """
        vendor = self._context.vendor(job.provider)
        if job.create_begun_ms is not None:
            return await self._found(vendor, job)
        if job.file_id is not None:
            # The lines may be on another host.
            return await self._create(vendor, job, Upload(self._context.input_path(job.id), 0))
        path = self._context.input_path(job.id)
        upload = Upload(path, path.stat().st_size)
        render = vendor.api.render_upload(job.id, upload)
        if render is not None:
            return await self._upload(vendor, job, upload, render)
        return await self._create(vendor, job, upload)

    async def _upload(self, vendor: Vendor, job: Job, upload: Upload, render: HTTPRequest) -> Job:
        file_id = None
        if job.upload_begun_ms is not None:
            file_id = await self._uploaded(vendor, job, upload)
            if file_id is None and not self._is_missing(job, job.upload_begun_ms):
                return job
        if file_id is None:
            job = await self._saved(job._replace(upload_begun_ms=self._context.now_ms()))
            file_id = (await self._sent(partial(vendor.upload, render), job._replace(upload_begun_ms=None))).id
        # A job that was cancelled meanwhile has the file to be deleted.
        return (await self._saved(job._replace(file_id=file_id)))._replace(file_id=file_id)

    async def _create(self, vendor: Vendor, job: Job, upload: Upload) -> Job:
        model = self._context.factory.models.registry.get_model_config(job.provider, job.model)
        request = vendor.api.render_create(job.id, model.api_name, job.file_id or "", upload)
        await self._lease.confirm()
        job = await self._saved(job._replace(create_begun_ms=self._context.now_ms()))
        if job.ended:
            return job
        status = await self._sent(partial(vendor.job, request), job._replace(create_begun_ms=None))
        if status.label not in (None, job.id) or status.vendor_id in await self._known():
            raise BadOutputError("the response is about another batch", provider=job.provider)
        return await self._submitted(job, status)

    async def _sent(self, call: Callable[[Progress], Awaitable[T]], unsent: Job) -> T:
        """Make a call; save the job as it was before where the call certainly had no effect, or was not sent."""
        progress = Progress()
        try:
            return await call(progress)
        except AttemptError as error:
            if is_certain(error):
                await self._saved(unsent)
            raise
        except asyncio.CancelledError:
            if not progress.sent:
                await self._saved(unsent)
            raise

    async def _submitted(self, job: Job, status: JobStatus) -> Job:
        expires_ms = None if status.expires_s is None else round(status.expires_s * 1000)
        job = job._replace(vendor_id=status.vendor_id, submitted_ms=self._context.now_ms(), expires_ms=expires_ms)
        # One that has ended already is collected as any other.
        return await self._saved(job.moved("queued" if status.ended else status.state))

    async def _found(self, vendor: Vendor, job: Job) -> Job:
        """Look for a job that may have been created; once it was looked for often enough, it is not there."""
        known = await self._known() | self._others
        since_s = self._earliest_s(vendor, job)
        waits = False
        async for status in vendor.jobs(since_s):
            if status.vendor_id in known:
                continue
            if _is_of(status, job):
                return await self._submitted(job, status)
            if vendor.api.labels or not _may_be(status, job, since_s):
                continue
            # A candidate that runs shows its lines when it has ended.
            is_ours = await self._has_our_lines(vendor, status, job) if status.ended else None
            if is_ours:
                return await self._submitted(job, status)
            if is_ours is None:
                waits = True
            else:
                self._others.add(status.vendor_id)
        if waits:
            return job
        if not self._is_missing(job, job.create_begun_ms or 0):
            return job
        return await self._saved(job._replace(create_begun_ms=None))

    def _earliest_s(self, vendor: Vendor, job: Job) -> float:
        """Return when a job may have been created at the earliest, by the clock of its provider."""
        # A gateway's clock may be ahead of that which dates the jobs, and ours may have been set back since.
        begun_ms = min(job.create_begun_ms or 0, self._context.now_ms())
        return begun_ms / 1000 + min(vendor.ahead_s, 0.0) - _CLOCK_SLACK_S

    async def _known(self) -> set[str | None]:
        """Return the provider's ids of the jobs in the ledger."""
        return {each.vendor_id for each in await self._context.run(self._context.journal.jobs)}

    def _is_missing(self, job: Job, begun_ms: int) -> bool:
        """Count an unsuccessful look for a file or job; return whether there were enough, for long enough."""
        now_s, key = asyncio.get_running_loop().time(), (job.id, begun_ms)
        self._looks[key] += 1
        looked_s = now_s - self._looked_since_s.setdefault(key, now_s)
        # The clock of the ledger may have been set back since.
        age_s = max((self._context.now_ms() - begun_ms) / 1000, looked_s)
        return self._looks[key] >= LOOKS and age_s >= LOOK_S

    async def _has_our_lines(self, vendor: Vendor, status: JobStatus, job: Job) -> bool | None:
        """Return whether a job that has ended has our lines, None where its results are missing, cut or unreadable."""
        others, is_readable = 0, True
        for request in vendor.api.render_results(status):
            try:
                results = await self._context.downloaded(job, request)
            except AttemptError as error:
                if error.http_status != NOT_FOUND:
                    raise
                return None
            with results:
                for line in filter(bytes.strip, results):
                    try:
                        custom_id, _ = record(line)
                    except ValueError:
                        is_readable = False
                        continue
                    if number_of(job.id, custom_id) is not None:
                        return True
                    others += 1
        return False if is_readable and others >= max(status.total or 0, 1) else None

    async def _uploaded(self, vendor: Vendor, job: Job, upload: Upload) -> str | None:
        """Return the file of an upload whose response was lost; delete what is not whole."""
        found = None
        for file in await vendor.files(job.id):
            if found is None and file.size in (None, upload.file_bytes):
                found = file.id
            else:
                await vendor.call(vendor.api.render_file_deletion(file.id))
        return found

    async def _saved(self, job: Job) -> Job:
        """Save a job, and return it; one that another process has ended is returned as that has left it."""
        journal = self._context.journal
        if await self._context.run(journal.save, job):
            return job
        return await self._context.run(journal.job, job.id) or job


def _is_of(status: JobStatus, job: Job) -> bool:
    """Whether a job shows that it is ours; one that failed has run nothing, and may have been submitted again."""
    if status.state == "failed":
        return False
    if status.label is not None:
        return status.label == job.id
    return status.input_file is not None and status.input_file == job.file_id


def _may_be(status: JobStatus, job: Job, since_s: float) -> bool:
    """Whether a job without a label may be ours: created after the intent, with our number of lines."""
    return (status.created_s or since_s) >= since_s and status.total in (None, job.lines)
