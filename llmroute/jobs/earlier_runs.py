"""What an earlier run of the same output left."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError
from llmroute.jobs.run_settings import MOST_WITHIN_S
from llmroute.jobs.submitting.intake import Run
from llmroute.request.ids import begun_ms, new_id, now_ms
from llmroute.text.option_names import OptionText, Remedy

if TYPE_CHECKING:
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.jobs.tools import JobTools
    from llmroute.ledger.jobs import Job


class Beginning(NamedTuple):
    """A run, its jobs that are not delivered yet, and delivered jobs that were not cleaned up after.

    `before` is the run before it, of the same input and options, if that has ended.
    """

    run: Run
    jobs: dict[str, Job]
    uncleaned: list[Job]
    before: str | None


async def beginning(tools: JobTools, settings: RunSettings) -> Beginning:
    """Return the run that is continued, or a new one; jobs that were never whole are dropped.

    Raises:
        RequestError: an earlier run is not to be resumed, or was started with another input or other options.
        LedgerError: the journal cannot be read or written.
    """
    earlier: list[Job] = []
    if settings.output is not None:
        earlier = await tools.run(lambda: tools.journal.jobs(output=settings.output))
    left = [job for job in earlier if job.delivered_ms is None]
    if left:
        _require_same(settings, left[-1])
    for job in left:
        if not job.sealed:
            await tools.run(tools.journal.drop, job.id, now_ms())
            tools.delete_input(job.id)
    jobs = {job.id: job for job in left if job.sealed}
    if tools.shared_budget is not None:
        for job_id in jobs:
            sums = await tools.run(tools.journal.sums, job_id)
            tools.shared_budget.exchange(-sums.reserved_picousd, sums.cost_picousd)
    uncleaned = [job for job in earlier if job.delivered_ms is not None and job.cleaned_ms is None]
    same = [job.run for job in earlier if _is_same(settings, job)]
    return Beginning(_run(settings, jobs), jobs, uncleaned, same[-1] if settings.resume and same and not left else None)


def _run(settings: RunSettings, jobs: dict[str, Job]) -> Run:
    if jobs:
        last = next(reversed(jobs.values()))
        return Run(settings, last.run, last.deadline_ms)
    run_id = new_id()
    return Run(settings, run_id, begun_ms(run_id) + round((settings.within_s or MOST_WITHIN_S) * 1000))


def _is_same(settings: RunSettings, job: Job) -> bool:
    return job.input_digest == settings.input_digest and job.options_digest == settings.options_digest


def _require_same(settings: RunSettings, job: Job) -> None:
    if not settings.resume:
        hint = OptionText(Remedy("resume"), " goes on with them")
        raise RequestError(f"{settings.output} has batch jobs that are not collected", hint=hint)
    if job.input_digest != settings.input_digest:
        raise RequestError("the input is not the one that the batch jobs were made from", option="resume")
    if job.options_digest != settings.options_digest:
        raise RequestError("the options are not those that the batch jobs were made with", option="resume")
    if settings.within_s is not None and round(settings.within_s * 1000) != job.deadline_ms - begun_ms(job.run):
        raise RequestError("the batch jobs were made with another deadline", option="resume")
