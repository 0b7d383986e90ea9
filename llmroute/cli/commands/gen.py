"""`llmroute gen`: a whole answer."""

from llmroute.cli import options as flags
from llmroute.cli.arguments import RequestArguments, takes_a_request


@takes_a_request
def gen(  # noqa: PLR0913, PLR0917 (one for each flag)
    asked: RequestArguments,
    batch: flags.BatchOption = None,
    output: flags.Output = None,
    resume: flags.Resume = False,
    jobs: flags.Jobs = None,
    unordered: flags.Unordered = False,
    lines: flags.Lines = False,
    column: flags.Column = None,
    delimiter: flags.Delimiter = None,
    template: flags.TemplateOption = None,
) -> None:
    """Answer a prompt, whole.

    It may fall back to another model until the end.  With --batch, answer many.
    """
    if batch is not None:
        from llmroute.cli.batch.arguments import BatchArguments
        from llmroute.cli.batch.command import run_batch
        from llmroute.request.options import JOBS

        run_batch(
            asked, BatchArguments(batch, output, resume, jobs or JOBS, unordered, lines, column, delimiter, template)
        )
    elif output or resume or jobs or unordered or lines or (column, delimiter, template) != (None,) * 3:
        from llmroute.cli.errors import fail
        from llmroute.errors import RequestError

        wanted = "-o, --resume, --jobs, --unordered, --lines, --column, --delimiter and --template"
        fail(RequestError(f"{wanted} go with --batch FILE"), as_json=asked.as_json)
    else:
        from llmroute.cli.commands.gen_answer import answer_whole

        answer_whole(asked)
