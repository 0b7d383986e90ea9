"""`llmroute stream`: an answer as it is written."""

from llmroute.cli import options as flags
from llmroute.cli.asked import Asked, takes_a_request


@takes_a_request
def stream(asked: Asked, atomic: flags.Atomic = False) -> None:
    """Answer a prompt, piece by piece.

    It may fall back to another model until the first piece is shown.
    """
    from llmroute.cli.piecewise import answer_piecewise

    answer_piecewise(asked, atomic=atomic)
