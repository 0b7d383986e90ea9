"""`llmroute gen --batch FILE --tier batch`: the lines of a file as jobs at the batch APIs of providers."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmroute.batch.job_batch import JobBatch
from llmroute.cli.batch.arguments import input_format, run_settings
from llmroute.cli.batch.input import count_lines, requests_of, shows_total
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.batch.reader import InputFormat, Request
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.options import BatchOptions
    from llmroute.cli.session import Session


def run_jobs(
    arguments: RequestArguments, batch: BatchOptions, session: Session, file: IO[bytes], *, is_regular: bool
) -> int:
    """Run a batch as jobs and return its exit code; see `BatchRunner.run`.  The input is read several times.

    Raises:
        LLMRouteError: the batch cannot be run.
    """
    if arguments.request["check"] is not None:
        raise RequestError("--tier batch takes no --check: its answers come later", option="check")
    settings = run_settings(batch)
    file_format = input_format(batch, arguments.encoding)
    with ExitStack() as cleanup:
        path = Path(batch.file) if is_regular else _copied(file, cleanup)
        with path.open("rb") as content:
            input_digest = file_digest(content, "sha256").hexdigest()
        settings = settings._replace(input_digest=input_digest, options_digest=_digest(arguments, file_format))
        total = count_lines(file) if is_regular and shows_total(file_format, arguments) else None
        runner = BatchRunner(arguments, batch, session, total, file.fileno())

        def open_requests() -> Iterator[Request]:
            with path.open("rb") as content:
                yield from requests_of(content, file_format, arguments, batch.file)

        running = _job_batch(runner, open_requests)
        code = runner.run(running, running.run(session.service.core, settings, runner.left_usd))
    if running.pending and not arguments.quiet:
        say(f"in batch jobs: {running.pending:,} lines; run the same command with --resume to collect the results")
    return code


def _job_batch(runner: BatchRunner, open_requests: Callable[[], Iterator[Request]]) -> JobBatch:
    return JobBatch(
        runner.output,
        open_requests,
        as_record=runner.as_record,
        on_failure=runner.add_failure,
        on_invalid_line=runner.print_error,
        on_progress=runner.show_progress,
        on_jobs=runner.show_jobs,
    )


def _digest(arguments: RequestArguments, file_format: InputFormat) -> str:
    """Return a digest of the options that make the requests; the path of the input may be written in other ways."""
    absolute = file_format._replace(folder=str(Path(file_format.folder).resolve()))
    return sha256(f"{arguments.defaults()!r}\n{absolute!r}".encode()).hexdigest()


def _copied(file: IO[bytes], cleanup: ExitStack) -> Path:
    """Copy an input that can be read once only into a temporary file."""
    copy = cleanup.enter_context(tempfile.NamedTemporaryFile(prefix="llmroute-"))  # noqa: SIM115 (entered)
    shutil.copyfileobj(file, copy)
    copy.flush()
    return Path(copy.name)
