"""`llmroute gen --batch`: many requests from a file, with results that survive whatever happens."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import typer

from llmroute.batch.reader import InputFormat, requests
from llmroute.batch.resume import PriorResults, left_in
from llmroute.batch.template import Template
from llmroute.cli.batch.runner import BatchRunner
from llmroute.cli.errors import say
from llmroute.cli.session import opened
from llmroute.encoding import check_whole, decoded_argument, known_encoding
from llmroute.errors import RequestError
from llmroute.request.options import MOST_USD, check_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmroute.batch.reader import Request
    from llmroute.cli.arguments import RequestArguments


class BatchArguments(NamedTuple):
    """The flags of a batch; see `cli.options`."""

    file: str
    output: Path | None
    resume: bool
    jobs: int
    unordered: bool
    lines: bool
    column: str | None
    delimiter: str | None
    template: str | None

    def form(self, encoding: str | None) -> InputFormat:
        """Return how the input is read, which is in an encoding, UTF-8 where it is None.

        Raises:
            RequestError: the flags contradict each other, or the template is none.
        """
        if self.lines and self.column is not None:
            raise RequestError("--lines and --column were both given: the input is plain lines, or it is CSV")
        if self.resume and self.output is None:
            raise RequestError("--resume goes on with a file of results: name it with -o FILE")
        if self.delimiter is not None and self.column is None:
            raise RequestError("--delimiter says how CSV is read: name the column of the prompts with --column")
        encoding = known_encoding(encoding)
        template = None
        if self.template is not None:
            template = Template(decoded_argument(self.template, encoding, "--template"))
        return InputFormat(self.lines, self.column, template, self._delimiter(), encoding)

    def _delimiter(self) -> str:
        said = self.delimiter
        if said is None:
            return "\t" if self.file.lower().endswith((".tsv", ".tab")) else ","
        found = "\t" if said.lower() in ("tab", "\\t") else said
        if len(found) != 1 or found in '"\r\n\0':
            raise RequestError(f"--delimiter: {said!r} is not one character", hint="';', '|' or tab, for example")
        return found


def run_batch(asked: RequestArguments, how: BatchArguments) -> None:
    """Run a batch, tell what came of it on stderr, and exit with its code: see `BatchRunner.run`."""
    with opened(asked, note=_once(say)) as under_way, ExitStack() as closing:
        if asked.prompt is not None:
            raise RequestError(
                "the prompts are in the file of --batch", hint="--template 'Translate: {text}' frames them"
            )
        if asked.render:
            raise RequestError("--render shows one answer; a batch writes JSON lines")
        check_range("budget", asked.budget, 0, MOST_USD, "USD")
        form = how.form(asked.encoding)
        file = _input(how.file)
        regular = _is_regular(file)
        if regular:  # a pipe is left to the thread that may be waiting for it
            closing.callback(file.close)
            _check_text(file, form, how.file)
        if asked.dry_run:
            from llmroute.cli.batch.dry_run import show_batch_plan

            show_batch_plan(
                under_way.service,
                _readable(requests(file, form, asked.defaults()), how.file),
                left_in(how.output) if how.resume and how.output is not None else PriorResults(),
                budget_usd=asked.budget,
                as_json=asked.as_json,
            )
            raise typer.Exit
        running = BatchRunner(asked, how, under_way, _total(file, form, asked) if regular else None, file.fileno())
        closing.callback(running.results.close)
        requested = _readable(requests(file, form, asked.defaults()), how.file)
        code = running.run(requested, blocking=not regular)
    raise typer.Exit(code)


def _input(name: str) -> IO[bytes]:
    if name == "-":
        if sys.stdin is None:
            raise RequestError("--batch -: there is no stdin")
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise RequestError(f"--batch: {name} cannot be read: {error.strerror}") from error


def _readable(requested: Iterator[Request], name: str) -> Iterator[Request]:
    try:
        yield from requested
    except OSError as error:
        raise RequestError(f"--batch: {name} cannot be read on: {error.strerror}") from error
    except RequestError as error:
        raise RequestError(f"{_place(name)}: {error.message}", hint=error.hint) from error


def _check_text(file: IO[bytes], form: InputFormat, name: str) -> None:
    """Refuse a file that is no text, or of another encoding, before any line of it is sent."""
    try:
        check_whole(file, form.encoding, _place(name))
    except OSError as error:
        raise RequestError(f"--batch: {name} cannot be read: {error.strerror}") from error


def _place(name: str) -> str:
    return "stdin" if name == "-" else name


def _is_regular(file: IO[bytes]) -> bool:
    import os
    import stat

    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _total(file: IO[bytes], form: InputFormat, asked: RequestArguments) -> int | None:
    """Count the lines of a file for the bar, where there is one; it is read twice."""
    if form.column is not None or form.encoding is not None or asked.quiet or not sys.stderr.isatty():
        return None
    begin = file.tell()
    total = sum(1 for line in file if line.strip())
    file.seek(begin)
    return total


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tell each thing once: ten thousand requests would say the same ten thousand times, but for the figures in it."""
    told: set[str] = set()

    def tell_once(text: str) -> None:
        sense = re.sub(r"\d+", "", text)
        if sense not in told and len(told) < 1000:  # noqa: PLR2004 (and no more than anybody would read)
            told.add(sense)
            tell(text)

    return tell_once
