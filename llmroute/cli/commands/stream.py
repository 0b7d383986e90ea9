"""`llmroute stream`: an answer as it is written."""

from llmroute.cli import options as flags
from llmroute.cli.arguments import RequestArguments, takes_a_request


@takes_a_request
def stream(asked: RequestArguments, atomic: flags.Atomic = False) -> None:
    """Answer a prompt, piece by piece.

    It may fall back to another model until the first piece is shown.
    """
    from llmroute.cli.commands.stream_answer import answer_piecewise

    answer_piecewise(asked, atomic=atomic)
