"""Query the status of jobs: one list for all jobs of a provider, a query for a single one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import AttemptError
from llmroute.jobs.vendor import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.jobs.context import JobContext
    from llmroute.jobs.vendor import Vendor
    from llmroute.ledger.jobs import Job
    from llmroute.providers.batch_jobs.job import JobStatus

FIRST_S = 10.0
MOST_S = 60.0
_GROWTH = 1.3


class Interval:
    """The interval between two queries, in seconds: `fixed_s`, or one that grows from 10 to 60."""

    def __init__(self, fixed_s: float | None) -> None:
        self._fixed_s = fixed_s
        self.first_s = fixed_s or FIRST_S
        self._next_s = FIRST_S

    def next_s(self, requested_s: float | None = None) -> float:
        """Return the next interval; `requested_s` is the one that a provider asks for with its successes."""
        if self._fixed_s is not None:
            return self._fixed_s
        now_s, self._next_s = self._next_s, min(self._next_s * _GROWTH, MOST_S)
        return max(now_s, min(requested_s or 0.0, MOST_S))

    def start_anew(self) -> None:
        """Begin with the shortest interval again."""
        self._next_s = FIRST_S


class Polled:
    """The status of jobs by our id; `lost` are those that the provider does not know, `errors` why others failed."""

    def __init__(self) -> None:
        self.found: dict[str, JobStatus] = {}
        self.lost: list[Job] = []
        self.errors: dict[str, AttemptError] = {}


async def poll(context: JobContext, jobs: Iterable[Job]) -> Polled:
    """Query the status of jobs that were submitted."""
    polled = Polled()
    providers: dict[str, list[Job]] = {}
    for job in jobs:
        providers.setdefault(job.provider, []).append(job)
    for name, own in providers.items():
        vendor = context.vendor(name)
        if vendor.is_paused:
            continue
        try:
            if len(own) > 1:
                await _poll_list(vendor, own, polled)
            for job in own:
                if job.id not in polled.found:
                    await _poll_one(vendor, job, polled)
        except AttemptError as error:
            polled.errors[name] = error
    return polled


async def _poll_list(vendor: Vendor, jobs: list[Job], polled: Polled) -> None:
    our_ids = {job.vendor_id: job.id for job in jobs}
    async for status in vendor.jobs():
        if (job_id := our_ids.pop(status.vendor_id, None)) is not None:
            polled.found[job_id] = status
        if not our_ids:
            return


async def _poll_one(vendor: Vendor, job: Job, polled: Polled) -> None:
    try:
        polled.found[job.id] = await vendor.status(job.vendor_id or "")
    except AttemptError as error:
        # Some gateways say so in a response with status 200.
        if error.http_status != NOT_FOUND and error.code not in ("not_found", "not_found_error"):
            raise
        polled.lost.append(job)
