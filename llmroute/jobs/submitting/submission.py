"""Submit a sealed job once: upload its lines, create it at the provider, and find it again after a lost response."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError
from llmroute.jobs.vendor import NOT_FOUND, is_certain
from llmroute.ledger.jobs import number_of
from llmroute.request.ids import now_ms
from llmroute.types import Upload

if TYPE_CHECKING:
    from llmroute.jobs.tools import JobTools
    from llmroute.jobs.vendor import Vendor
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus

LOOKS = 3
LOOK_S = 60.0
"""How often, and how long, a job is looked for before it is created again: a new job may not be listed at once."""
_CLOCK_SLACK_S = 60


class Submission:
    """Submits jobs of a run.  One step at a time, each after it is written down; `step` says what is next."""

    def __init__(self, tools: JobTools) -> None:
        self._tools = tools
        # How often each job of unknown fate was looked for in vain.
        self._looks: dict[str, int] = {}
        # Jobs at the provider that turned out to be another's.
        self._others: set[str] = set()

    async def step(self, job: Job) -> Job:
        """Bring a job one step closer to its submission; return it as it is then.

        Raises:
            AttemptError: the provider rejects it, or cannot be reached; `is_certain` says whether it may exist.
        """
        vendor = self._tools.vendor(job.provider)
        if job.create_begun_ms is not None:
            return await self._found(vendor, job)
        path = self._tools.input_path(job.id)
        upload = Upload(path, path.stat().st_size)
        render = vendor.api.render_upload(job.id, upload)
        if job.file_id is None and render is not None:
            file_id = None
            if job.upload_begun_ms is None:
                job = await self._saved(job._replace(upload_begun_ms=now_ms()))
            else:
                file_id = await self._uploaded(vendor, job, upload)
            file_id = file_id or vendor.api.parse_file(await vendor.call(render)).id
            # A job that was cancelled meanwhile has the file to be deleted.
            return (await self._saved(job._replace(file_id=file_id)))._replace(file_id=file_id)
        return await self._create(vendor, job, upload)

    async def _create(self, vendor: Vendor, job: Job, upload: Upload) -> Job:
        model = self._tools.factory.models.registry.get_model_config(job.provider, job.model)
        request = vendor.api.render_create(job.id, model.api_name, job.file_id or "", upload)
        job = await self._saved(job._replace(create_begun_ms=now_ms()))
        if job.ended:
            return job
        try:
            status = vendor.api.parse_job(await vendor.call(request))
        except AttemptError as error:
            if is_certain(error):
                await self._saved(job._replace(create_begun_ms=None))
            raise
        return await self._submitted(job, status)

    async def _submitted(self, job: Job, status: JobStatus) -> Job:
        expires_ms = None if status.expires_s is None else round(status.expires_s * 1000)
        job = job._replace(vendor_id=status.vendor_id, submitted_ms=now_ms(), expires_ms=expires_ms)
        # One that has ended already is collected as any other.
        return await self._saved(job.moved("queued" if status.ended else status.state))

    async def _found(self, vendor: Vendor, job: Job) -> Job:
        """Look for a job that may have been created; once it was looked for often enough, it is not there."""
        known = {each.vendor_id for each in await self._tools.run(self._tools.journal.jobs)} | self._others
        waits = False
        async for status in vendor.jobs():
            if status.vendor_id in known:
                continue
            if _is_of(status, job):
                return await self._submitted(job, status)
            if not _may_be(status, job, vendor):
                if _is_older(status, job, vendor):
                    break
                continue
            if not status.ended:
                waits = True
            elif await self._has_our_lines(vendor, status, job):
                return await self._submitted(job, status)
            else:
                self._others.add(status.vendor_id)
        if waits:
            # A candidate that runs shows its lines when it has ended.
            return job
        self._looks[job.id] = self._looks.get(job.id, 0) + 1
        if self._looks[job.id] < LOOKS or now_ms() < (job.create_begun_ms or 0) + LOOK_S * 1000:
            return job
        del self._looks[job.id]
        return await self._saved(job._replace(create_begun_ms=None))

    async def _has_our_lines(self, vendor: Vendor, status: JobStatus, job: Job) -> bool:
        for request in vendor.api.render_results(status):
            try:
                results = await self._tools.downloaded(vendor.name, request)
            except AttemptError as error:
                if error.http_status != NOT_FOUND:
                    raise
                # A new job has results.
                return False
            with results:
                for line in results:
                    with suppress(ValueError):
                        return number_of(job.id, vendor.api.parse_result(line).custom_id) is not None
        return False

    async def _uploaded(self, vendor: Vendor, job: Job, upload: Upload) -> str | None:
        """Return the file of an upload whose response was lost; delete what is not whole."""
        found = None
        for file in await vendor.files(f"{job.id}.jsonl"):
            if found is None and file.size in (None, upload.file_bytes):
                found = file.id
            else:
                await vendor.call(vendor.api.render_file_deletion(file.id))
        return found

    async def _saved(self, job: Job) -> Job:
        """Save a job, and return it; one that another process has ended is returned as that has left it."""
        journal = self._tools.journal
        if await self._tools.run(journal.save, job):
            return job
        return await self._tools.run(journal.job, job.id) or job


def _is_of(status: JobStatus, job: Job) -> bool:
    """Whether a job shows that it is ours; one that failed has run nothing, and may have been submitted again."""
    if status.state == "failed":
        return False
    if status.label is not None:
        return status.label == job.id
    return status.input_file is not None and status.input_file == job.file_id


def _may_be(status: JobStatus, job: Job, vendor: Vendor) -> bool:
    """Whether a job without a label may be ours: created after the intent, with our number of lines."""
    if vendor.api.labels or _is_older(status, job, vendor):
        return False
    return status.total in (None, job.lines)


def _is_older(status: JobStatus, job: Job, vendor: Vendor) -> bool:
    begun_s = (job.create_begun_ms or 0) / 1000 + vendor.ahead_s - _CLOCK_SLACK_S
    return status.created_s is not None and status.created_s < begun_s
