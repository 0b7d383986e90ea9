"""`llmroute gen`: a complete response, or those of a batch."""

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from llmroute.cli import options as flags
from llmroute.cli.arguments import RequestArguments, takes_a_request
from llmroute.cli.errors import fail
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.cli.batch.arguments import BatchArguments

_BATCH_FLAGS = (
    "-o, --resume, --jobs, --unordered, --lines, --column, --delimiter, --template, --within, --rescue, --no-wait,"
    " --poll and --keep"
)


@takes_a_request(streaming=False)
def gen(  # noqa: PLR0913, PLR0917 (one for each flag)
    arguments: RequestArguments,
    batch: flags.BatchOption = None,
    output: flags.Output = None,
    resume: flags.Resume = False,
    jobs: flags.Jobs = None,
    unordered: flags.Unordered = False,
    lines: flags.Lines = False,
    column: flags.Column = None,
    delimiter: flags.Delimiter = None,
    template: flags.TemplateOption = None,
    within: flags.Within = None,
    rescue: flags.Rescue = False,
    no_wait: flags.NoWait = False,
    poll: flags.Poll = None,
    keep: flags.Keep = False,
    schema_multi: flags.SchemaMulti = None,
    check_timeout: flags.CheckTimeout = None,
) -> None:
    """Generate a response.

    Falls back to another model until an answer is complete.  --batch answers each line of a file.
    """
    arguments = _with_schema(arguments, schema_multi)
    batch_arguments = None
    if batch is not None:
        from llmroute.cli.batch.arguments import BatchArguments, JobArguments
        from llmroute.request.options import JOBS

        of_jobs = JobArguments(within, rescue, no_wait, poll, keep)
        batch_arguments = BatchArguments(
            batch, output, resume, jobs or JOBS, unordered, lines, column, delimiter, template, of_jobs
        )
    elif any((output, resume, jobs, unordered, lines, rescue, no_wait, keep)) or any(
        value is not None for value in (column, delimiter, template, within, poll)
    ):
        fail(RequestError(f"{_BATCH_FLAGS} require --batch FILE"), as_json=arguments.as_json)
    _generate_checked(arguments, batch_arguments, check_timeout)


def _with_schema(arguments: RequestArguments, schema_multi: str | None) -> RequestArguments:
    if arguments.request["schema"] is None and schema_multi is None:
        return arguments
    from llmroute.cli.schema_arguments import with_schema

    return with_schema(arguments, schema_multi)


def _generate_checked(arguments: RequestArguments, batch: "BatchArguments | None", check_timeout: float | None) -> None:
    """Generate, with the check of the answer if there is one."""
    if arguments.request["check"] is not None:
        from llmroute.cli.check_command import checking

        with checking(arguments, check_timeout) as checked:
            _generate(checked, batch)
    elif check_timeout is not None:
        fail(RequestError("--check-timeout requires --check COMMAND"), as_json=arguments.as_json)
    else:
        _generate(arguments, batch)


def _generate(arguments: RequestArguments, batch: "BatchArguments | None") -> None:
    if batch is None:
        _answer(arguments)
        return
    from llmroute.cli.batch.command import run_batch

    run_batch(arguments, batch)


def _answer(arguments: RequestArguments) -> None:
    """Write one complete response to stdout."""
    from llmroute.cli.output.spinner import spinning
    from llmroute.cli.output.writers import JSONWriter, writer_for
    from llmroute.cli.session import answering

    with answering(arguments) as session:
        response = None
        with closing(session.service.answer(arguments.options(), streaming=False)) as pieces:
            with spinning(quiet=arguments.quiet):
                first = next(pieces)
            for piece in chain([first], pieces):
                if not isinstance(piece, str):
                    response = piece
                    session.record(piece)
                    writer = writer_for(arguments, JSONWriter)
                    with session.writing():
                        writer.write(piece.content)
                        writer.end(piece)
                    session.write_usage(piece)
        assert response is not None
        session.conclude(response)
