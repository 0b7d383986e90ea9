"""`llmroute models show`: all facts about one model, with sources and dates."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures, say
from llmroute.cli.output.models import sheet, sheet_as_json
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.terminal import harmless, width
from llmroute.errors import RequestError


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="provider/model, a bare model, an alias, or a family (its newest).", autocompletion=candidates.models
        ),
    ],
    as_json: flags.AsJSON = False,
) -> None:
    """Show all facts about a model, with their sources."""
    with failures(as_json=as_json):
        from llmroute.planning.local.local_models import LOCAL_SERVER
        from llmroute.service.client import LLMService
        from llmroute.service.models.listing import as_listed, measured, named_here, why_unavailable, with_limits_here

        service = LLMService(note=say)
        model = named_here(service.core, name)
        pulled = model.provider == LOCAL_SERVER and service.core.models.local_models.has(model.api_name)
        if not model.known and not pulled:
            raise RequestError(
                f"{model.name} is not in the catalogue",
                hint="llmroute models --live lists the models that your keys can call",
            )
        listed = [as_listed(service.registry, model)]
        (one,) = measured(service.core, with_limits_here(service.core, listed) if pulled else listed)
        why = why_unavailable(service.core, [one])[model.name]
        notice = service.registry.notice(model)
        if as_json:
            write_json(sheet_as_json(one, why, notice))
        else:
            write_text(harmless(sheet(one, why, notice, width() if sys.stdout.isatty() else None)))
