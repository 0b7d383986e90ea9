"""`llmroute models pull`: have Ollama fetch a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llmroute.cli import completing
from llmroute.cli.failures import failures
from llmroute.cli.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.providers.ollama_pull import PullProgress


def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="ollama/NAME, or NAME alone; a tag after a colon.", autocompletion=completing.pulled_by_ollama
        ),
    ],
) -> None:
    """Have Ollama fetch a model.

    On a terminal a bar shows how far it is.
    """
    with failures():
        from llmroute.service.api import LLMService
        from llmroute.service.pulling import pull as pulled
        from llmroute.service.pulling import to_pull

        service = LLMService()
        model = to_pull(service, name)
        under_way = pulled(service, model)
        if sys.stderr is not None and sys.stderr.isatty():
            _show(under_way)
        else:
            for _ in under_way:
                pass


def _show(under_way: Iterable[PullProgress]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("asking", total=None)
        for progress in under_way:
            bar.update(
                task,
                description=harmless(progress.status).partition("\n")[0][:40],
                completed=progress.completed,
                total=progress.total or None,
            )
