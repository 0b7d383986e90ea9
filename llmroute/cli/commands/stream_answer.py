"""`llmroute stream`, once it is known what is asked: an answer as it is written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from llmroute.cli.output.spinner import spinning
from llmroute.cli.output.writers import JSONLinesWriter, writer_for
from llmroute.cli.session import answering
from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import LLMResponse


def answer_piecewise(asked: RequestArguments, *, atomic: bool) -> None:
    """Answer, each piece as it comes; with `atomic` when the answer is whole."""
    with answering(asked) as under_way:
        writer = writer_for(asked, JSONLinesWriter)
        answered: LLMResponse | None = None
        begun = False
        try:
            options = replace(asked.options(), atomic=atomic)
            with closing(under_way.service.answer(options, streaming=True)) as pieces:
                with spinning(quiet=asked.quiet):
                    first = next(pieces)
                for piece in chain([first], pieces):
                    begun = True
                    if isinstance(piece, str):
                        with under_way.writing():
                            writer.write(piece)
                        continue
                    answered = piece
                    under_way.keep(piece)
                    with under_way.writing():
                        writer.end(piece)
                    under_way.tell_usage(piece)
        except LLMRouteError:
            if begun:
                with under_way.writing():
                    writer.end()
            raise
        assert answered is not None
        under_way.conclude(answered)
