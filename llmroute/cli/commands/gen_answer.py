"""`llmroute gen`, once it is known what is asked: an answer whole."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from llmroute.cli.output.spinner import spinning
from llmroute.cli.output.writers import JSONWriter, writer_for
from llmroute.cli.session import answering

if TYPE_CHECKING:
    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import LLMResponse


def answer_whole(asked: RequestArguments) -> None:
    """Answer, and tell on stderr and aside what is to be told."""
    with answering(asked) as under_way:
        answered: LLMResponse | None = None
        with closing(under_way.service.answer(asked.options(), streaming=False)) as pieces:
            with spinning(quiet=asked.quiet):
                first = next(pieces)
            for piece in chain([first], pieces):
                if not isinstance(piece, str):
                    answered = piece
                    under_way.keep(piece)
                    writer = writer_for(asked, JSONWriter)
                    with under_way.writing():
                        writer.write(piece.content)
                        writer.end(piece)
                    under_way.tell_usage(piece)
        assert answered is not None
        under_way.conclude(answered)
