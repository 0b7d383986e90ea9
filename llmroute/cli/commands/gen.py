"""`llmroute gen`: a complete response, or those of a batch."""

from contextlib import closing
from itertools import chain

from llmroute.cli.arguments import CompleteArguments, RequestArguments
from llmroute.cli.batch.options import JOBS_PANEL, PANEL, BatchOptions, names
from llmroute.cli.errors import fail
from llmroute.cli.signatures import takes_a_request
from llmroute.errors import RequestError


@takes_a_request(streaming=False)
def gen(arguments: RequestArguments, batch: BatchOptions, complete: CompleteArguments) -> None:
    """Generate a response.

    Falls back to another model until an answer is complete.  --batch answers each line of a file.
    """
    arguments = _with_schema(arguments, complete.schema_multi)
    if batch.batch is None and batch.has_any(PANEL, JOBS_PANEL):
        fail(RequestError(f"{names(PANEL, JOBS_PANEL)} require --batch FILE"), as_json=arguments.as_json)
    _generate_checked(arguments, batch, complete.check_timeout)


def _with_schema(arguments: RequestArguments, schema_multi: str | None) -> RequestArguments:
    if arguments.request["schema"] is None and schema_multi is None:
        return arguments
    from llmroute.cli.schema_arguments import with_schema

    return with_schema(arguments, schema_multi)


def _generate_checked(arguments: RequestArguments, batch: BatchOptions, check_timeout: float | None) -> None:
    """Generate, with the check of the answer if there is one."""
    if arguments.request["check"] is not None:
        from llmroute.cli.check_command import checking

        with checking(arguments, check_timeout) as checked:
            _generate(checked, batch)
    elif check_timeout is not None:
        fail(RequestError("--check-timeout requires --check COMMAND"), as_json=arguments.as_json)
    else:
        _generate(arguments, batch)


def _generate(arguments: RequestArguments, batch: BatchOptions) -> None:
    if batch.batch is None:
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
