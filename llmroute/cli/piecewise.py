"""`llmroute stream`, once it is known what is asked: an answer as it is written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from llmroute.cli.answering import answering
from llmroute.cli.output import write_json
from llmroute.cli.render import response_as_json
from llmroute.cli.spinner import spinning
from llmroute.cli.writers import writer_for
from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from llmroute.cli.asked import Asked
    from llmroute.types import LLMResponse


def answer_piecewise(asked: Asked, *, atomic: bool) -> None:
    """Answer, each piece as it comes; with `atomic` when the answer is whole."""
    with answering(asked) as under_way:
        writer = None if asked.as_json else writer_for(asked)
        answered: LLMResponse | None = None
        begun = False
        try:
            options = replace(asked.options(), atomic=atomic)
            with closing(under_way.service.answer(options, streaming=True)) as pieces:
                with spinning(quiet=asked.quiet):
                    first = next(pieces)
                for piece in chain([first], pieces):
                    if writer is None and not begun:
                        write_json({"type": "start"})
                    begun = True
                    if not isinstance(piece, str):
                        answered = piece
                        if writer is None:
                            write_json({"type": "end", **response_as_json(piece)})
                        else:
                            writer.end()
                        under_way.finish(piece)
                    elif writer is None:
                        write_json({"type": "delta", "text": piece})
                    else:
                        writer.write(piece)
        except LLMRouteError:
            if writer is not None and begun:
                writer.end()
            raise
        assert answered is not None
        under_way.conclude(answered)
