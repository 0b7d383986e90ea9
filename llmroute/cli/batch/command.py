"""`llmroute gen --batch`: check the input, then run it or forecast its cost."""

from __future__ import annotations

import gc
import os
import re
import stat
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from llmroute.batch.reader import read_requests
from llmroute.batch.resume import PriorResults, prior_results
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.cli.session import opened
from llmroute.encoding import check_whole
from llmroute.errors import RequestError
from llmroute.request.fields import check_range
from llmroute.request.options import MOST_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.batch.reader import InputFormat, Request
    from llmroute.cli.arguments import RequestArguments
    from llmroute.cli.batch.arguments import BatchArguments

MAX_NOTES = 1000
GARBAGE_AFTER = 5_000


def run_batch(arguments: RequestArguments, batch: BatchArguments) -> None:
    """Run a batch and exit with its code, see `BatchRunner.run`; with --dry-run print what it would cost."""
    with opened(arguments, note=_once(say)) as session, ExitStack() as cleanup:
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
        input_format = batch.input_format(arguments.encoding)
        file = _open_input(batch.file)
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if is_regular:  # a thread may still be blocked on a pipe, so a pipe stays open
            cleanup.callback(file.close)
            with _input_errors(batch.file):
                check_whole(file, input_format.encoding, _input_name(batch.file))
        requests = _requests(file, input_format, arguments, batch.file)
        if arguments.dry_run:
            from llmroute.cli.batch.dry_run import show_forecast

            prior = prior_results(batch.output) if batch.resume and batch.output is not None else PriorResults()
            show_forecast(session.service, requests, prior, budget_usd=arguments.budget_usd, as_json=arguments.as_json)
            raise typer.Exit
        # A batch runs long: unlike other commands it collects garbage, but not among what is loaded by now.
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        total = _count_lines(file, input_format, arguments) if is_regular else None
        code = BatchRunner(arguments, batch, session, total, file.fileno()).run(requests, blocking=not is_regular)
    raise typer.Exit(code)


def _open_input(name: str) -> IO[bytes]:
    if name == "-":
        if sys.stdin is None:
            raise RequestError("--batch -: stdin is closed")
        return sys.stdin.buffer
    with _input_errors(name):
        return Path(name).open("rb")


@contextmanager
def _input_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"--batch: {name} cannot be read: {error.strerror}") from error


def _requests(file: IO[bytes], input_format: InputFormat, arguments: RequestArguments, name: str) -> Iterator[Request]:
    """Yield the requests of the input; errors name the input."""
    with _input_errors(name):
        try:
            yield from read_requests(file, input_format, arguments.defaults())
        except RequestError as error:
            raise RequestError(f"{_input_name(name)}: {error.message}", hint=error.hint) from error


def _input_name(name: str) -> str:
    return "stdin" if name == "-" else name


def _count_lines(file: IO[bytes], input_format: InputFormat, arguments: RequestArguments) -> int | None:
    """Count the lines for the progress bar; None where no bar is drawn or a line is not one request."""
    one_per_line = input_format.column is None and input_format.encoding is None
    if not one_per_line or arguments.quiet or not sys.stderr.isatty():
        return None
    start = file.tell()
    total = sum(1 for line in file if line.strip())
    file.seek(start)
    return total


def _once(print_note: Callable[[str], None]) -> Callable[[str], None]:
    """Print each note once: the requests of a batch repeat the same notes with different numbers in them."""
    printed: set[str] = set()

    def print_once(text: str) -> None:
        pattern = re.sub(r"\d+", "", text)
        if pattern not in printed and len(printed) < MAX_NOTES:
            printed.add(pattern)
            print_note(text)

    return print_once
