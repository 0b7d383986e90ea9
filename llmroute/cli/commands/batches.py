"""`llmroute batches`: list, show and cancel the jobs of `gen --batch --tier batch`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures, say
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns
from llmroute.cli.output.terminal import can_confirm, harmless
from llmroute.errors import RequestError
from llmroute.planning.usage_cost import usd
from llmroute.text.money import money

if TYPE_CHECKING:
    from llmroute.jobs.listing import ListedJob

batches = typer.Typer(invoke_without_command=True)

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="The id of the job, or its beginning.", autocompletion=candidates.jobs)
]
_HEAD = ("job", "provider", "model", "status", "lines", "done", "failed", "cost", "reserved", "created", "output")
_NUMBERS = (4, 5, 6, 7, 8)


@batches.callback()
def _list(context: typer.Context, as_json: flags.AsJSON = False) -> None:
    """List, show and cancel the jobs of --tier batch.

    The list is read from the ledger; --resume updates it from the providers.
    """
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted
        from llmroute.service.batch_jobs import jobs_of

        found = jobs_of(load_noted())
        if as_json:
            write_json([_as_json(one) for one in found])
        elif found:
            write_text(harmless(columns(_HEAD, [_row(one) for one in found], _NUMBERS)))
        else:
            say("there are no batch jobs")


@batches.command(cls=GroupedCommand, epilog=epilog("batches show"))
def show(job: JobName, as_json: flags.AsJSON = False) -> None:
    """Show one job."""
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted
        from llmroute.service.batch_jobs import job_of

        document = _as_json(job_of(load_noted(), job))
        if as_json:
            write_json(document)
            return
        rows = [[name, "" if value is None else str(value)] for name, value in document.items()]
        write_text(harmless(columns(("field", "value"), rows)))


@batches.command(cls=GroupedCommand, epilog=epilog("batches cancel"))
def cancel(job: JobName, yes: flags.Yes = False) -> None:
    """Cancel a job at its provider.

    Completed lines are billed and kept for --resume.
    """
    with failures():
        import asyncio

        from llmroute.service.batch_jobs import cancel_job, job_of
        from llmroute.service.client import LLMService

        service = LLMService(note=say)
        found = job_of(service.config, job).job
        described = f"job {found.id} ({found.provider}/{found.model}, {found.lines:,} lines)"
        if not (yes or can_confirm()):
            raise RequestError(f"{described} would be cancelled", hint="--yes cancels it without asking")
        if not (yes or typer.confirm(f"cancel {described}?", err=True)):
            say("nothing is cancelled")
            return
        ended = asyncio.run(cancel_job(service, found))
        say(
            f"{described} is {ended.phase}"
            if ended.ended
            else f"{described} is being cancelled; {'generate_batch' if ended.is_of_library else '--resume'}"
            " collects its results"
        )


def _as_json(listed: ListedJob) -> dict[str, Any]:
    job, sums = listed
    return {
        "job": job.id,
        "vendor_id": job.vendor_id,
        "provider": job.provider,
        "model": job.model,
        "status": job.phase,
        "lines": job.lines,
        "done": sums.answered,
        "failed": sums.failed + sums.unanswered,
        "created": _time(job.created_ms),
        "expires": _time(job.deadline_ms),
        "output": job.output,
        "cost_usd": usd(sums.cost_picousd),
        "reserved_usd": usd(sums.reserved_picousd),
    }


def _row(listed: ListedJob) -> list[str]:
    job, sums = listed
    created = datetime.fromtimestamp(job.created_ms / 1000).astimezone()
    return [
        job.id,
        job.provider,
        job.model,
        job.phase,
        f"{job.lines:,}",
        f"{sums.answered:,}",
        f"{sums.failed + sums.unanswered:,}",
        money(usd(sums.cost_picousd)),
        money(usd(sums.reserved_picousd)),
        f"{created:%Y-%m-%d %H:%M}",
        job.output or "",
    ]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
