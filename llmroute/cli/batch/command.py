"""`llmroute gen --batch`: check the input, then run it or forecast its cost."""

from __future__ import annotations

import gc
import os
import re
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from llmroute.batch.failures_file import failures_path
from llmroute.batch.resume import PriorResults, prior_results
from llmroute.batch.runner import Batch, BatchLimits
from llmroute.bulk.concurrency import CONCURRENCY
from llmroute.cli.batch.arguments import input_format, require_no_job_flags
from llmroute.cli.batch.input import count_lines, input_errors, input_name, open_input, requests_of, shows_total
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.cli.session import opened
from llmroute.encoding import check_whole
from llmroute.errors import RequestError
from llmroute.request.fields import check_range
from llmroute.service.batch_jobs import positions_in_jobs, require_no_jobs
from llmroute.types import AUTO, BATCH, MOST_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.batch.reader import Request
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.options import BatchOptions
    from llmroute.cli.output.meta_file import NamedFile
    from llmroute.cli.session import Session

MAX_NOTES = 1000
GARBAGE_AFTER = 5_000


def run_batch(arguments: RequestArguments, batch: BatchOptions) -> None:
    """Run a batch and exit with its code, see `BatchRunner.run`; with --dry-run print its expected cost."""
    with opened(arguments, note=_once(say), files=_files(batch)) as session, ExitStack() as cleanup:
        _check_arguments(arguments, batch)
        if batch.output is not None:
            from llmroute.service.own_files import require_other_file

            require_other_file(session.service.core.config, batch.output)
        file_format = input_format(batch, arguments.encoding)
        file = open_input(batch.file)
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if is_regular:  # A thread may still be blocked on a pipe, so a pipe stays open.
            cleanup.callback(file.close)
            with input_errors(batch.file):
                check_whole(file, file_format.encoding, input_name(batch.file))
        requests = requests_of(file, file_format, arguments, batch.file)
        if arguments.request["tier"] in (BATCH, AUTO) and not arguments.dry_run:
            from llmroute.cli.batch.job_command import run_jobs

            raise typer.Exit(run_jobs(arguments, batch, session, file))
        if arguments.request["tier"] not in (BATCH, AUTO):
            require_no_job_flags(batch)
        lines = count_lines(file) if is_regular else None
        if arguments.dry_run:
            _forecast(arguments, batch, session, requests, lines)
            raise typer.Exit
        if batch.output is not None:
            require_no_jobs(session.service.core.config, batch.output)
        total = lines if shows_total(file_format, arguments) else None
        runner = BatchRunner(arguments, batch, session, total, file.fileno())
        in_order = batch.output is None and not batch.unordered
        limits = BatchLimits(batch.concurrency or CONCURRENCY, in_order, runner.left_usd, lines)
        code = _run(runner, session, requests, limits, blocking=not is_regular)
    raise typer.Exit(code)


def _files(batch: BatchOptions) -> Iterator[NamedFile]:
    if batch.file != "-":
        yield "--batch", batch.file
    if batch.output is not None:
        yield "-o", batch.output
        yield "-o", failures_path(batch.output)


def _check_arguments(arguments: RequestArguments, batch: BatchOptions) -> None:
    if arguments.prompt is not None:
        raise RequestError(
            "--batch reads the prompts from its file; drop the prompt argument",
            hint="--template 'Translate: {text}' adds text to each",
        )
    if arguments.render:
        raise RequestError("--render applies to a single answer; a batch writes JSON lines")
    if batch.file == "-" and arguments.attaches_stdin:
        raise RequestError("--attach - is stdin, which --batch - reads", option="attachments")
    check_range("budget_usd", arguments.budget_usd, 0, MOST_USD, "USD")


def _forecast(
    arguments: RequestArguments, batch: BatchOptions, session: Session, requests: Iterator[Request], lines: int | None
) -> None:
    """Print the expected cost of the requests that have no response yet."""
    from llmroute.cli.batch.dry_run import show_forecast

    of_jobs = arguments.request["tier"] in (BATCH, AUTO)
    prior, in_jobs = PriorResults(), set[int]()
    if batch.resume and batch.output is not None:
        prior = prior_results(batch.output)
        in_jobs = positions_in_jobs(session.service.core.config, batch.output) if of_jobs else in_jobs
    show_forecast(
        lambda: session.service.core.bulk(batch.concurrency or CONCURRENCY, requests=lines),
        requests,
        prior,
        budget_usd=arguments.budget_usd,
        in_jobs=in_jobs,
        of_jobs=of_jobs,
        as_json=arguments.as_json,
    )


def _run(
    runner: BatchRunner, session: Session, requests: Iterator[Request], limits: BatchLimits, *, blocking: bool
) -> int:
    """Answer the requests by calls; return the exit code."""
    # A batch runs long: unlike other commands it collects garbage, except the objects that exist now.
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    running = Batch(runner.output, runner)
    return runner.run(running, running.run(session.service.core, requests, limits, blocking=blocking))


def _once(print_note: Callable[[str], None]) -> Callable[[str], None]:
    """Print each note once: the requests of a batch repeat the same notes with different numbers in them."""
    printed: set[str] = set()

    def print_once(text: str) -> None:
        pattern = re.sub(r"\d+", "", text)
        if pattern not in printed and len(printed) < MAX_NOTES:
            printed.add(pattern)
            print_note(text)

    return print_once
