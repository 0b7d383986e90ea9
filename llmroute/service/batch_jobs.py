"""The batch jobs of the ledger: listed and cancelled."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from llmroute.errors import LedgerError, RequestError
from llmroute.jobs import listing
from llmroute.service.ledger_opening import ledger_to_read
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.config import Config
    from llmroute.jobs.listing import ListedJob
    from llmroute.ledger.jobs import Job
    from llmroute.service.client import LLMService

_MOST_POSITIONS = 2**62


def jobs_of(config: Config) -> list[ListedJob]:
    """Return the jobs of the ledger, oldest first.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not config.ledger.exists():
        return []
    with closing(ledger_to_read(config)) as ledger:
        journal = ledger.jobs
        return listing.listed(journal, journal.jobs())


def job_of(config: Config, name: str) -> ListedJob:
    """Return a job by its id, by the beginning of it, or by the provider's id.

    Raises:
        RequestError: there is no such job, or there are several.
        LedgerError: the ledger cannot be read.
    """
    return listing.named(jobs_of(config), name)


def require_no_jobs(config: Config, output: Path) -> None:
    """Check that no results of jobs are still to be written to an output, so that its lines are not paid twice.

    Raises:
        RequestError: some are.
    """
    if not config.ledger.exists():
        return
    try:
        with closing(ledger_to_read(config)) as ledger:
            jobs = ledger.jobs.jobs(output=os.path.realpath(output))
    except LedgerError:
        # It cannot be read, which stops no ordinary call.
        return
    if any(job.delivered_ms is None for job in jobs):
        hint = OptionText(Remedy("tier"), " batch with ", Remedy("resume"), " continues them")
        raise RequestError(f"{output} has batch jobs that are not collected", hint=hint)


def positions_in_jobs(config: Config, output: Path) -> set[int]:
    """Return the positions of the lines of the input whose results jobs are still to write to an output.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if not config.ledger.exists():
        return set()
    with closing(ledger_to_read(config)) as ledger:
        journal = ledger.jobs
        left = {
            job.id: job.run
            for job in journal.jobs(output=os.path.realpath(output))
            if job.sealed and not job.delivered_ms
        }
        return {
            position
            for run in set(left.values())
            for position, line in journal.placed(run, 0, _MOST_POSITIONS).items()
            if line.job in left
        }


async def cancel_job(service: LLMService, job: Job) -> Job:
    """Cancel a job; see `jobs.cancellation.cancel`."""
    from llmroute.jobs.cancellation import cancel

    async with service:
        return await cancel(service.core.job_context(), job)
