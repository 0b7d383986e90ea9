"""Cancel a job at its provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, RequestError
from llmroute.jobs.collecting.collection import Collection
from llmroute.jobs.open_jobs import OpenJobs
from llmroute.jobs.vendor import is_certain
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.context import JobContext
    from llmroute.ledger.jobs import Job

CANCEL_S = 10.0
"""How long the end of a cancelled job is waited for."""


async def cancel(context: JobContext, job: Job, pause_s: float = 0.5) -> Job:
    """Cancel a job at its provider, and settle what it has run if it ends soon; return it as it is then.

    Raises:
        RequestError: it has ended.
        AttemptError: the provider cannot be reached, or rejects it.
        LedgerError: the journal cannot be written.
    """
    # A run may have gone on with it since the caller has read it.
    job = await _stored(context, job)
    if job.delivered_ms is not None or (job.ended and not await _is_reserved(context, job)):
        raise RequestError(f"job {job.id} is {job.phase} already")
    if job.vendor_id is None:
        if not await context.run(context.journal.withdraw, job.id, context.now_ms()):
            hint = OptionText("continue its batch (", Remedy("resume"), "), then cancel the job")
            if job.is_of_library:
                hint = OptionText("call generate_batch again with its requests, then cancel the job")
            raise RequestError(f"job {job.id} is being submitted", hint=hint)
        withdrawn = await _stored(context, job)
        jobs = OpenJobs(context, _ignore, keep=False)
        await jobs.clean(withdrawn)
        jobs.note_unclean()
        return withdrawn
    try:
        return await _cancelled(context, job, job.vendor_id, pause_s)
    except AttemptError:
        stored = await _stored(context, job)
        if stored.delivered_ms is None:
            raise
        # The run that waits for it has collected it, and deleted it at the provider.
        return stored


async def _cancelled(context: JobContext, job: Job, vendor_id: str, pause_s: float) -> Job:
    vendor = context.vendor(job.provider)
    if not job.ended:
        try:
            await vendor.call(vendor.api.render_cancel(vendor_id))
        except AttemptError as error:
            # A job that has ended, or is being cancelled already, may reject it; another runs on.
            if not is_certain(error) or not (job.cancel_ms is not None or (await vendor.status(vendor_id)).ended):
                raise
        job = await _saved(context, job._replace(cancel_ms=context.now_ms()))
    for _ in range(max(round(CANCEL_S / pause_s), 1)):
        status = await vendor.status(vendor_id)
        if status.ended:
            job = await _saved(context, job if job.ended else job.moved(status.state))
            await Collection(context, job, _ignore).collect(status, pause_s)
            return job
        await asyncio.sleep(pause_s)
    return job


async def _is_reserved(context: JobContext, job: Job) -> bool:
    """Whether lines of a job that has ended are still to be settled: its run was killed before."""
    sums = await context.run(context.journal.sums, job.id)
    return sums.answered + sums.failed + sums.unanswered < job.lines


async def _stored(context: JobContext, job: Job) -> Job:
    return await context.run(context.journal.job, job.id) or job


async def _saved(context: JobContext, job: Job) -> Job:
    await context.run(context.journal.save, job)
    return job


async def _ignore(outcome: LineOutcome) -> None:
    """Deliver nothing: the run that is resumed writes the results."""
