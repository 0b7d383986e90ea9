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
        if job.create_begun_ms is not None:
            hint = OptionText("go on with its batch (", Remedy("resume"), "), then cancel the job")
            raise RequestError(f"job {job.id} is being submitted", hint=hint)
        await tools.run(tools.journal.release, job.id, "cancelled", now_ms())
        return await _saved(tools, job.moved("cancelled")._replace(cancel_ms=now_ms(), delivered_ms=now_ms()))
    try:
        await vendor.call(vendor.api.render_cancel(job.vendor_id))
    except AttemptError as error:
        if not is_certain(error):
            raise
    job = await _saved(tools, job._replace(cancel_ms=now_ms()))
    for _ in range(max(round(CANCEL_S / pause_s), 1)):
        status = await vendor.status(job.vendor_id or "")
        if status.ended:
            job = await _saved(tools, job.moved(status.state))
            await Collection(tools, job, _ignore).collect(status, pause_s)
            return job
        await asyncio.sleep(pause_s)
    return job


async def _saved(tools: JobTools, job: Job) -> Job:
    await tools.run(tools.journal.save, job)
    return job


async def _ignore(outcome: LineOutcome) -> None:
    """Deliver nothing: the run that is resumed writes the results."""
