"""The jobs of a run that are not delivered yet: saved, ended, and cleaned up after."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from llmroute.errors import AttemptError
from llmroute.jobs.collecting.collection import Collection
from llmroute.jobs.vendor import NOT_FOUND
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmroute.errors import LLMRouteError
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.context import JobContext
    from llmroute.jobs.vendor import Vendor
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus

T = TypeVar("T")


class OpenJobs:
    """Jobs by our id; `deliver` gets the outcomes of their lines.

    With `keep` nothing is deleted at providers; with `confirms` jobs count as delivered after `confirm` only.
    """

    def __init__(
        self,
        context: JobContext,
        deliver: Callable[[LineOutcome], Awaitable[None]],
        secure: Callable[[], None] | None = None,
        *,
        keep: bool = False,
        confirms: bool = False,
    ) -> None:
        self._context = context
        self._deliver = deliver
        self._secure = secure
        self._keep = keep
        self._confirms = confirms
        # The jobs that are to be confirmed, and their last status.
        self._unconfirmed: list[tuple[Job, JobStatus | None]] = []
        # The delivered jobs whose files could not be deleted, by our id.
        self._uncleaned: dict[str, tuple[Job, JobStatus | None, AttemptError]] = {}
        self._noted: set[str] = set()
        self.by_id: dict[str, Job] = {}
        self.statuses: dict[str, JobStatus] = {}
        """The last status of each job at its provider."""

    async def save(self, job: Job) -> Job:
        """Save a job and return it."""
        await self._context.run(self._context.journal.save, job)
        self.by_id[job.id] = job
        return job

    async def fail(self, job: Job, error: LLMRouteError) -> None:
        """End a job that was not run, and deliver the error for each of its lines."""
        await Collection(self._context, job, self._deliver).fail(error)
        await self._delivered(job if job.ended else job.moved("failed"), None)

    async def lose(self, job: Job, error: LLMRouteError) -> None:
        """End a job whose results are lost, and deliver the error for each of its lines."""
        await Collection(self._context, job, self._deliver).lose(error)
        await self._delivered(job if job.ended else job.moved("failed"), None)

    async def collect(self, job: Job, status: JobStatus, pause_s: float) -> None:
        """Settle and deliver the lines of a job that has ended at its provider.

        Raises:
            AttemptError: its results cannot be read.
        """
        await Collection(self._context, job, self._deliver).collect(status, pause_s)
        await self._delivered(job, status)

    async def _delivered(self, job: Job, status: JobStatus | None) -> None:
        """Note that all outcomes of a job were delivered, then clean up after it, unless that is to be confirmed."""
        if self._secure is not None:
            self._secure()
        job = await self.save(job if self._confirms else job._replace(delivered_ms=self._context.now_ms()))
        del self.by_id[job.id]
        self.statuses.pop(job.id, None)
        if self._confirms:
            self._unconfirmed.append((job, status))
        else:
            await self.clean(job, status)

    async def confirm(self, run: str) -> None:
        """Note that the outcomes of all jobs of a run were delivered, then clean up after them."""
        delivered_ms = self._context.now_ms()
        await self._context.run(self._context.journal.deliver, run, delivered_ms)
        for job, status in self._unconfirmed:
            await self.clean(job._replace(delivered_ms=delivered_ms), status)
        self._unconfirmed.clear()
        await self.clean_again()

    async def clean(self, job: Job, status: JobStatus | None = None) -> None:
        """Delete the files that a delivered job left here, and at the provider unless it is to be kept.

        Files that the provider does not delete are left for `clean_again`.
        """
        context, vendor = self._context, self._context.vendor(job.provider)
        context.delete_input(job.id)
        if not self._keep:
            try:
                await delete_at(vendor, job, status)
            except AttemptError as error:
                self._uncleaned[job.id] = job, status, error
                return
        self._uncleaned.pop(job.id, None)
        await context.run(context.journal.save, job._replace(cleaned_ms=self._context.now_ms()))

    @property
    def is_clean(self) -> bool:
        """Whether no file that is to be deleted is left at a provider."""
        return not self._uncleaned

    async def clean_again(self) -> None:
        """Delete the files again that could not be deleted, unless their provider has requested a pause."""
        for job, status, _ in [*self._uncleaned.values()]:
            if not self._context.vendor(job.provider).is_paused:
                await self.clean(job, status)

    def note_unclean(self) -> None:
        """Pass a note on about the files that could not be deleted."""
        for job, _, error in self._uncleaned.values():
            again = "the next generate_batch with these requests" if job.is_of_library else Remedy("resume")
            failed = f"files of job {job.id} at {job.provider} could not be deleted: {error.message}; "
            self.note(job.id, OptionText(failed, again, " tries again"))

    def note(self, about: str, text: str) -> None:
        """Pass a note about a job or a provider on once."""
        key = f"{about} {text}"
        if key not in self._noted:
            self._noted.add(key)
            self._context.note(text)


async def delete_at(vendor: Vendor, job: Job, status: JobStatus | None) -> None:
    """Delete the files that a job left at its provider.

    Raises:
        AttemptError: a file or job could not be deleted; one that does not exist is no error.
    """
    if status is None and job.vendor_id is not None:
        status = await _if_found(vendor.status(job.vendor_id))
    if status is not None:
        requests = vendor.api.render_deletions(status)
    else:
        requests = tuple(map(vendor.api.render_file_deletion, await _input_files(vendor, job)))
    failure: AttemptError | None = None
    for request in requests:
        try:
            await _if_found(vendor.call(request))
        except AttemptError as error:
            failure = failure or error
    if failure is not None:
        raise failure


async def _input_files(vendor: Vendor, job: Job) -> list[str]:
    """Return the ids of the uploaded files of a job; where the response to its upload was lost, they are looked for."""
    if job.file_id is not None:
        return [job.file_id]
    return [] if job.upload_begun_ms is None else [file.id for file in await vendor.files(job.id)]


async def _if_found(call: Awaitable[T]) -> T | None:
    """Return the result of a call, None where the provider has no such object."""
    try:
        return await call
    except AttemptError as error:
        if error.http_status != NOT_FOUND:
            raise
        return None
