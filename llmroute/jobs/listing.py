"""The jobs in the ledger, as users see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.ledger.jobs import Job, JobJournal, JobSums


class ListedJob(NamedTuple):
    """A job and the sums of its lines."""

    job: Job
    sums: JobSums


def listed(journal: JobJournal, jobs: Iterable[Job]) -> list[ListedJob]:
    """Return jobs with the sums of their lines."""
    return [ListedJob(job, journal.sums(job.id)) for job in jobs]


def named(jobs: Iterable[ListedJob], name: str) -> ListedJob:
    """Return a job by our id, by the beginning of it, or by the provider's id.

    Raises:
        RequestError: there is no such job, or there are several.
    """
    found = [one for one in jobs if name and (one.job.id.startswith(name) or one.job.vendor_id == name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(f"{len(found)} jobs begin with {name}", hint="give more of the id")
    raise RequestError(f"there is no job {name!r}", hint="llmroute batches lists the jobs")
