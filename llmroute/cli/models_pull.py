"""`llmroute models pull`: have Ollama fetch a model."""

from __future__ import annotations

from typing import Annotated

import typer

from llmroute.cli import completing
from llmroute.cli import options as flags
from llmroute.cli.failures import failures, say


def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="ollama/NAME, or NAME alone; a tag after a colon.", autocompletion=completing.pulled_by_ollama
        ),
    ],
    quiet: flags.Quiet = False,
) -> None:
    """Have Ollama fetch a model.

    On a terminal a bar shows how far it is.
    """
    with failures():
        from llmroute.cli.bar import Bar, Progress
        from llmroute.service.api import LLMService
        from llmroute.service.pulling import pull as pulled
        from llmroute.service.pulling import to_pull

        service = LLMService()
        model = to_pull(service, name)
        with Bar(quiet=quiet) as bar:
            for told in pulled(service, model):
                bar.show(Progress(told.status, told.completed, told.total or None, "bytes"))
        if not quiet:
            say(f"{model.name} is there")
