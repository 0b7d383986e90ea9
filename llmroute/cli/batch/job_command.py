"""`llmroute gen --batch FILE --tier batch`: the lines of a file as jobs at the batch APIs of providers."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmroute.batch.job_batch import JobBatch
from llmroute.cli.batch.arguments import input_format, run_settings
from llmroute.cli.batch.input import count_lines, input_errors, requests_of, shows_total
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.errors import RequestError
from llmroute.jobs.private_file import unnamed_file, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.reader import InputFormat, Request
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.options import BatchOptions
    from llmroute.cli.session import Session


PIECE_BYTES = 1 << 20


def run_jobs(arguments: RequestArguments, batch: BatchOptions, session: Session, file: IO[bytes]) -> int:
    """Run a batch as jobs and return its exit code; see `BatchRunner.run`.

    Raises:
        LLMRouteError: the batch cannot be run.
    """
    if arguments.request["check"] is not None:
        raise RequestError("--tier batch takes no --check: its answers come later", option="check")
    settings = run_settings(batch)
    file_format = input_format(batch, arguments.encoding)
    copy, input_digest = _copied(file, batch.file, session.service.core.job_context().folder)
    with copy:
        settings = settings._replace(input_digest=input_digest, options_digest=_digest(arguments, file_format))
        total = count_lines(copy) if shows_total(file_format, arguments) else None
        runner = BatchRunner(arguments, batch, session, total, file.fileno())
        if runner.output.is_stream:
            hint = "answers are deleted at the provider once they are in it"
            raise RequestError(f"{batch.output} is not a file, which batch jobs write their results to", hint=hint)

        def open_requests() -> Iterator[Request]:
            with open(os.dup(copy.fileno()), "rb") as content:  # noqa: PTH123 (a descriptor)
                content.seek(0)
                yield from requests_of(content, file_format, arguments, batch.file)

        running = JobBatch(runner.output, runner, open_requests)
        code = runner.run(running, running.run(session.service.core, settings, runner.left_usd))
    if running.pending and not arguments.quiet:
        say(f"in batch jobs: {running.pending:,} lines; run the same command with --resume to collect the results")
    return code


def _digest(arguments: RequestArguments, file_format: InputFormat) -> str:
    """Return a digest of the options that make the requests; the path of the input may be written in other ways."""
    absolute = file_format._replace(folder=str(Path(file_format.folder).resolve()))
    return sha256(f"{arguments.defaults()!r}\n{absolute!r}".encode()).hexdigest()


def _copied(file: IO[bytes], name: str, folder: Path) -> tuple[IO[bytes], str]:
    """Copy the input into a file without a name, and return it with its digest.

    The input is read several times, and may change while jobs run.
    """
    digest = sha256()
    with writing(folder):
        copy = unnamed_file(folder)
        while piece := _piece(file, name):
            digest.update(piece)
            copy.write(piece)
        copy.seek(0)
    return copy, digest.hexdigest()


def _piece(file: IO[bytes], name: str) -> bytes:
    with input_errors(name):
        return file.read(PIECE_BYTES)
