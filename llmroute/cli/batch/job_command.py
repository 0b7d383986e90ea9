"""`llmroute gen --batch FILE --tier batch`: the lines of a file as jobs at the batch APIs of providers."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmroute.batch.job_batch import JobBatch
from llmroute.cli.batch.input import count_lines, requests_of, shows_total
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.errors import RequestError
from llmroute.jobs.run_settings import RunSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reader import InputFormat, Request
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.arguments import BatchArguments
    from llmroute.cli.session import Session
    from llmroute.jobs.run import RunProgress


def run_jobs(
    arguments: RequestArguments, batch: BatchArguments, session: Session, file: IO[bytes], *, is_regular: bool
) -> int:
    """Run a batch as jobs and return its exit code; see `BatchRunner.run`.  The input is read several times.

    Raises:
        LLMRouteError: the batch cannot be run.
    """
    if arguments.request["check"] is not None:
        raise RequestError("--tier batch takes no --check: its answers come later", option="check")
    if batch.output is None:
        raise RequestError("--tier batch writes its results to a file: name it with -o FILE")
    within_s = batch.jobs.within_s()
    input_format = batch.input_format(arguments.encoding)
    with ExitStack() as cleanup:
        path = Path(batch.file) if is_regular else _copied(file, cleanup)
        with path.open("rb") as content:
            input_digest = file_digest(content, "sha256").hexdigest()
        total = count_lines(file) if is_regular and shows_total(input_format, arguments) else None
        settings = RunSettings(
            output=str(batch.output.resolve()),
            input_digest=input_digest,
            options_digest=_digest(arguments, input_format),
            within_s=within_s,
            wait=not batch.jobs.no_wait,
            rescue=batch.jobs.rescue,
            resume=batch.resume,
            poll_s=batch.jobs.poll_s,
            keep=batch.jobs.keep,
        )
        runner = BatchRunner(arguments, batch, session, total, file.fileno())

        def open_requests() -> Iterator[Request]:
            with path.open("rb") as content:
                yield from requests_of(content, input_format, arguments, batch.file)

        def show_jobs(progress: RunProgress) -> None:
            runner.jobs_text = jobs_text(progress)
            runner.show_progress(running.totals)

        running = JobBatch(
            runner.output,
            open_requests,
            as_record=runner.as_record,
            on_failure=runner.add_failure,
            on_invalid_line=runner.print_error,
            on_progress=runner.show_progress,
            on_jobs=show_jobs,
        )
        code = runner.run(running, running.run(session.service.core, settings, runner.left_usd))
    if running.pending and not arguments.quiet:
        say(f"in batch jobs: {running.pending:,} lines; run the same command with --resume to collect the results")
    return code


def _digest(arguments: RequestArguments, input_format: InputFormat) -> str:
    """Return a digest of the options that make the requests; the path of the input may be written in other ways."""
    absolute = input_format._replace(folder=str(Path(input_format.folder).resolve()))
    return sha256(f"{arguments.defaults()!r}\n{absolute!r}".encode()).hexdigest()


def jobs_text(progress: RunProgress) -> str:
    """Return the state of jobs for the progress bar."""
    jobs = f"{progress.jobs} job{'' if progress.jobs == 1 else 's'}"
    reported = f" ({progress.reported:,} lines run)" if progress.reported else ""
    return f"{jobs}{reported}, {_hours(progress.age_s)} old, {_hours(progress.left_s)} left"


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _copied(file: IO[bytes], cleanup: ExitStack) -> Path:
    """Copy an input that can be read once only into a temporary file."""
    copy = cleanup.enter_context(tempfile.NamedTemporaryFile(prefix="llmroute-"))  # noqa: SIM115 (entered)
    shutil.copyfileobj(file, copy)
    copy.flush()
    return Path(copy.name)
