"""`llmroute gen`: a whole answer."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from llmroute.cli import options as flags  # noqa: TC001 (typer reads annotations at run time)
from llmroute.cli.answering import answering
from llmroute.cli.asked import Asked, takes_a_request
from llmroute.cli.failures import fail
from llmroute.cli.output import write_json
from llmroute.cli.render import response_as_json
from llmroute.cli.spinner import spinning
from llmroute.cli.writers import writer_for
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.types import LLMResponse


@takes_a_request
def gen(  # noqa: PLR0913, PLR0917 (one for each flag)
    asked: Asked,
    batch: flags.Batch = None,
    output: flags.Output = None,
    resume: flags.Resume = False,
    jobs: flags.Jobs = None,
    unordered: flags.Unordered = False,
    lines: flags.Lines = False,
    column: flags.Column = None,
    template: flags.Template = None,
) -> None:
    """Answer a prompt, whole.

    It may fall back to another model until the end.  With --batch, answer many.
    """
    if batch is not None:
        from llmroute.cli.batch import Batching, run_batch
        from llmroute.service.options import JOBS

        run_batch(asked, Batching(batch, output, resume, jobs or JOBS, unordered, lines, column, template))
    elif output or resume or jobs or unordered or lines or column is not None or template is not None:
        wanted = "-o, --resume, --jobs, --unordered, --lines, --column and --template"
        fail(RequestError(f"{wanted} go with --batch FILE"), as_json=asked.as_json)
    else:
        _answer(asked)


def _answer(asked: Asked) -> None:
    with answering(asked) as under_way:
        answered: LLMResponse | None = None
        with closing(under_way.service.answer(asked.options(), streaming=False)) as pieces:
            with spinning(quiet=asked.quiet):
                first = next(pieces)
            for piece in chain([first], pieces):
                if not isinstance(piece, str):
                    answered = piece
                    if asked.as_json:
                        write_json(response_as_json(piece))
                    else:
                        writer = writer_for(asked)
                        writer.write(piece.content)
                        writer.end()
                    under_way.finish(piece)
        assert answered is not None
        under_way.conclude(answered)
