"""`llmroute gen`: a whole answer."""

from __future__ import annotations

from contextlib import closing
from itertools import chain

from llmroute.cli.answering import answering
from llmroute.cli.asked import Asked, takes_a_request
from llmroute.cli.output import write_json
from llmroute.cli.render import response_as_json
from llmroute.cli.spinner import spinning
from llmroute.cli.writers import writer_for
from llmroute.types import LLMResponse


@takes_a_request
def gen(asked: Asked) -> None:
    """Answer a prompt, whole.

    It may fall back to another model until the end.
    """
    with answering(asked) as under_way:
        answered: LLMResponse | None = None
        with closing(under_way.service.answer(asked.options(), streaming=False)) as pieces:
            with spinning(quiet=asked.quiet):
                first = next(pieces)
            for piece in chain([first], pieces):
                if isinstance(piece, LLMResponse):
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
