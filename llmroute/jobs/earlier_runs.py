"""Jobs that an earlier run of the same output left open."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import AttemptError, RequestError
from llmroute.jobs.open_jobs import delete_at
from llmroute.jobs.run_settings import MOST_WITHIN_S
from llmroute.jobs.submitting.intake import Run
from llmroute.ledger.processes import this_process
from llmroute.request.ids import begun_ms, new_id
from llmroute.text.option_text import OptionText, Remedy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from llmroute.jobs.context import JobContext
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.jobs import Job, JobJournal, JobLine

    IsCounted: TypeAlias = Callable[[int, str | None], bool]

_RANGE = 1_000


class Beginning(NamedTuple):
    """A run, its jobs that are not delivered yet, and delivered jobs that were not cleaned up after.

    `before` is the run before it, of the same input and options, if that has ended.
    """

    run: Run
    jobs: dict[str, Job]
    uncleaned: list[Job]
    before: str | None


async def beginning(context: JobContext, settings: RunSettings, is_counted: IsCounted) -> Beginning:
    """Return the run that is continued, or a new one; jobs that were never whole are dropped.

    `is_counted` says whether the budget of the run has the cost of the line at a position already: of its answer, or
    of the attempt with a request id.

    Raises:
        RequestError: an earlier run is not to be resumed, or was started with another input or other options.
        LedgerError: the journal cannot be read or written.
    """
    earlier: list[Job] = []
    if settings.output is not None:
        found = await context.run(lambda: context.journal.jobs(output=settings.output))
        earlier = [job for job in found if _is_here(job) or _is_same(settings, job)]
    left = [job for job in earlier if job.delivered_ms is None]
    if left:
        _require_same(settings, left[-1])
    jobs = {job.id: job for job in left if job.sealed and not _is_gone(context, job)}
    for job in left:
        if job.id not in jobs:
            await _drop(context, job)
    if context.shared_budget is not None:
        for job in jobs.values():
            sums = await context.run(context.journal.sums, job.id)
            context.shared_budget.exchange(-sums.reserved_picousd, await _uncounted_picousd(context, job, is_counted))
    if any(not _is_here(job) for job in jobs.values()):
        await context.run(context.journal.take_over, left[-1].run, this_process().host)
    uncleaned = [job for job in earlier if job.delivered_ms is not None and job.cleaned_ms is None]
    same = [job for job in earlier if _is_same(settings, job)]
    before = same[-1].run if settings.resume and same and not left else None
    if before is not None and not settings.confirms:
        await _require_answers(context, [job for job in same if job.run == before], is_counted)
    return Beginning(_run(context, settings, jobs), jobs, uncleaned, before)


def _is_gone(context: JobContext, job: Job) -> bool:
    """Whether the lines of a job that was not submitted are gone: they were written on another host."""
    was_sent = job.file_id is not None or job.create_begun_ms is not None or job.vendor_id is not None
    return not (was_sent or job.ended or context.input_path(job.id).exists())


async def _drop(context: JobContext, job: Job) -> None:
    """Drop a job that was not submitted: its lines are taken again."""
    if job.upload_begun_ms is not None:
        try:
            await delete_at(context.vendor(job.provider), job, None)
        except AttemptError as error:
            context.note(f"files at {job.provider} could not be deleted: {error.message}")
    await context.run(context.journal.drop, job.id, context.now_ms())
    context.delete_input(job.id)


def _run(context: JobContext, settings: RunSettings, jobs: dict[str, Job]) -> Run:
    if jobs:
        last = next(reversed(jobs.values()))
        return Run(settings, last.run, last.deadline_ms)
    run_id = new_id(context.now_ms())
    return Run(settings, run_id, begun_ms(run_id) + round((settings.within_s or MOST_WITHIN_S) * 1000))


def _group(journal: JobJournal, job: Job, first: int) -> tuple[int, list[tuple[JobLine, AttemptRow]]]:
    """Return how many lines a group has, and those with an attempt: old ones may have been pruned."""
    lines = journal.lines(job.id, first, first + _RANGE - 1)
    return len(lines), [*journal.rows(job.id, [line.n for line in lines])]


async def _uncounted_picousd(context: JobContext, job: Job, is_counted: IsCounted) -> int:
    """Return the cost of the settled lines of a job that are not counted."""
    picousd = first = found = 0
    while found < job.lines:
        lines, rows = await context.run(_group, context.journal, job, first)
        first, found = first + _RANGE, found + lines
        settled = [(line, row) for line, row in rows if line.state != "reserved"]
        picousd += sum(row.cost_picousd or 0 for line, row in settled if not is_counted(line.position, row.request_id))
    return picousd


async def _require_answers(context: JobContext, jobs: list[Job], is_counted: IsCounted) -> None:
    """Check that the output has the answers of a run that another host has delivered: they are paid for.

    Raises:
        RequestError: they are in the file of the other host.
    """
    for job in jobs:
        if _is_here(job):
            continue
        for first in range(0, job.lines, _RANGE):
            lines = await context.run(context.journal.lines, job.id, first, first + _RANGE - 1)
            if any(line.state == "answered" and not is_counted(line.position, None) for line in lines):
                hint = OptionText("get that file; to pay for them again, run without ", Remedy("resume"))
                raise RequestError(f"the results of these batch jobs are in {job.output} on {job.host}", hint=hint)


def _is_here(job: Job) -> bool:
    """Whether the output of a job is a file of this host; that of another host is another file of the same path."""
    return job.host in (None, this_process().host)


def _is_same(settings: RunSettings, job: Job) -> bool:
    return job.input_digest == settings.input_digest and job.options_digest == settings.options_digest


def _require_same(settings: RunSettings, job: Job) -> None:
    if settings.confirms:
        _require_same_of_library(settings, job)
        return
    if not settings.resume:
        hint = OptionText(Remedy("resume"), " continues them")
        raise RequestError(f"{settings.output} has batch jobs that are not collected", hint=hint)
    instead = "repeat the command that made them, or cancel them (llmroute batches) and name another file"
    if job.input_digest != settings.input_digest:
        raise RequestError("the input is not the one that the batch jobs were made from", hint=instead, option="resume")
    if job.options_digest != settings.options_digest:
        raise RequestError(
            "the options are not those that the batch jobs were made with", hint=instead, option="resume"
        )
    if settings.within_s is not None and round(settings.within_s * 1000) != job.deadline_ms - begun_ms(job.run):
        raise RequestError("the batch jobs were made with another deadline", hint=instead, option="resume")


def _require_same_of_library(settings: RunSettings, job: Job) -> None:
    if job.input_digest != settings.input_digest:
        hint = f"give another name; llmroute batches cancel {job.id} ends the job"
        raise RequestError(f"{settings.output} is the name of a batch of other requests", hint=hint, option="name")
    if settings.within_s is not None and round(settings.within_s * 1000) != job.deadline_ms - begun_ms(job.run):
        raise RequestError("the batch jobs of these requests were made with another deadline", option="within_s")
