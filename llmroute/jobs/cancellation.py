"""Cancel a job at its provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmroute.errors import AttemptError, RequestError
from llmroute.jobs.collecting.collection import Collection
from llmroute.jobs.vendor import is_certain
from llmroute.request.ids import now_ms
from llmroute.text.option_names import OptionText, Remedy

if TYPE_CHECKING:
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.tools import JobTools
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus

CANCEL_S = 10.0
"""How long the end of a cancelled job is waited for."""


async def cancel(tools: JobTools, job: Job, pause_s: float = 0.5) -> Job:
    """Cancel a job at its provider, and settle what it has run if it ends soon; return it as it is then.

    Raises:
        RequestError: it has ended.
        AttemptError: the provider cannot be reached.
        LedgerError: the journal cannot be written.
    """
    if job.ended or job.delivered_ms is not None:
        raise RequestError(f"job {job.id} is {job.phase} already")
    vendor = tools.vendor(job.provider)
    if job.vendor_id is None:
        if not await tools.run(tools.journal.withdraw, job.id, now_ms()):
            hint = OptionText("go on with its batch (", Remedy("resume"), "), then cancel the job")
            raise RequestError(f"job {job.id} is being submitted", hint=hint)
        return job.moved("cancelled")
    try:
        await vendor.call(vendor.api.render_cancel(job.vendor_id))
    except AttemptError as error:
        if not is_certain(error):
            raise
    job = await _saved(tools, job._replace(cancel_ms=now_ms()))
    for _ in range(max(round(CANCEL_S / pause_s), 1)):
        status = await vendor.status(job.vendor_id or "")
        if status.ended:
            return await _collected(tools, job.moved(status.state), status, pause_s)
        await asyncio.sleep(pause_s)
    return job


async def _collected(tools: JobTools, job: Job, status: JobStatus, pause_s: float) -> Job:
    """Settle the lines of a job that has ended, unless the run that waits for it has done so."""
    await _saved(tools, job)
    try:
        await Collection(tools, job, _ignore).collect(status, pause_s)
    except AttemptError:
        stored: Job | None = await tools.run(tools.journal.job, job.id)
        if stored is None or stored.delivered_ms is None:
            raise
    return job


async def _saved(tools: JobTools, job: Job) -> Job:
    await tools.run(tools.journal.save, job)
    return job


async def _ignore(outcome: LineOutcome) -> None:
    """Deliver nothing: the run that is resumed writes the results."""
