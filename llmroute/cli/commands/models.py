"""`llmroute models`: list and search models."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.commands.models_pull import pull
from llmroute.cli.commands.models_refresh import refresh
from llmroute.cli.commands.models_show import show
from llmroute.cli.completion import candidates
from llmroute.cli.errors import error_of, failures, say
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.models import model_as_json, model_table
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.terminal import harmless, width
from llmroute.text.plural import many
from llmroute.types import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Collection

    from llmroute.service.client import LLMService
    from llmroute.service.models.listing import PricedModel

models = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)
COMMANDS = {command.__name__: command for command in (show, pull, refresh)}
for name, command in COMMANDS.items():
    models.command(cls=GroupedCommand, epilog=epilog(f"models {name}"))(command)


Search = Annotated[
    str | None,
    typer.Argument(
        metavar="[SEARCH]",
        help="List only models with this word in their name or an alias.",
        autocompletion=candidates.searched_models,
        show_default=False,
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--provider",
        help="List only models of this provider.",
        autocompletion=candidates.providers,
        rich_help_panel="Model",
    ),
]
Capability = Annotated[
    list[str] | None,
    typer.Option(
        "--capability",
        help="List only models with this capability; repeatable.",
        autocompletion=candidates.choices(CAPABILITIES),
        rich_help_panel="Model",
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0,
        help="Maximum price in USD per million tokens, of input and of output.",
        rich_help_panel="Model",
    ),
]
Sort = Annotated[
    Literal["price", "quality", "latency", "context"] | None,
    typer.Option("--sort", help="Sort order, best first.", rich_help_panel="Output"),
]
OnlyAvailable = Annotated[
    bool, typer.Option("--available", help="List only models that can be called from here.", rich_help_panel="Model")
]
Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="List the models that the providers offer to your keys, not the catalogue.",
        rich_help_panel="Model",
    ),
]
AllModels = Annotated[bool, typer.Option("--all", help="List retired models too.", rich_help_panel="Model")]


@models.callback()
def _list(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    context: typer.Context,
    search: Search = None,
    provider: Provider = None,
    capability: Capability = None,
    max_cost: MaxCost = None,
    sort: Sort = None,
    only_available: OnlyAvailable = False,
    live: Live = False,
    every_model: AllModels = False,
    as_json: flags.AsJSON = False,
) -> None:
    """List and search models; update the catalogue.

    The list is a table on a terminal, and one provider/id per line in a pipe.
    """
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json):
        from llmroute.service.models.listing import available, matching, measured, narrowed, ordered

        service = _service(provider)
        shows_details = as_json or sys.stdout.isatty()
        if live:
            found, code = _live(service, provider)
            callable_models: Collection[str] = {one.model.name for one in found}
        else:
            asks_local_server = shows_details or only_available or search is not None
            found, code = _catalogued(service, provider, retired=every_model, local=asks_local_server), exit_codes.OK
            callable_models = available(service.core, found) if shows_details or only_available else ()
        if search is not None:
            found = matching(found, search, service.registry, COMMANDS)
        found = narrowed(found, capability or (), max_cost)
        if shows_details or sort == "latency":
            found = measured(service.core, found)
        if only_available:
            found = [one for one in found if one.model.name in callable_models]
        _write(ordered(found, sort) if sort else found, callable_models, as_json=as_json)
        raise typer.Exit(code)


def _service(provider: str | None) -> LLMService:
    """Return the service, after a check of the name of the provider and a warning where the catalogue is old."""
    from llmroute.planning.default_registry import warn_when_stale
    from llmroute.providers import PROVIDERS
    from llmroute.request.fields import require_one_of
    from llmroute.service.client import LLMService

    service = LLMService(note=say)
    require_one_of("provider", provider, PROVIDERS)
    warn_when_stale(service.registry, service.config.config_dir, say)
    return service


def _catalogued(service: LLMService, provider: str | None, *, retired: bool, local: bool) -> list[PricedModel]:
    """Return the models of the catalogue, and with `local` those that only the local server has."""
    from llmroute.service.models.listing import listed, with_local

    found = [one for one in listed(service.registry, provider) if retired or one.status != "retired"]
    return with_local(service.core, found, provider) if local else found


def _live(service: LLMService, provider: str | None) -> tuple[list[PricedModel], int]:
    """Return the models that the providers list, and the exit code, which is not 0 if all providers failed.

    Raises:
        LLMRouteError: all providers failed, and no model is listed.
    """
    from llmroute.service.models.live_models import live

    found = live(service.core, provider)
    # A configuration or account problem needs a change; other errors may be temporary.
    worst = min(found.failures.values(), key=lambda error: error.exit_code != exit_codes.SETUP, default=None)
    if worst is not None and not found.models:
        raise worst
    for name, error in found.failures.items():
        say(f"{error_of(name, error)}; its models are omitted")
    for name, count in found.left_out.items():
        say(f"{name}: {many(count, 'model')} omitted: the name contains a key, or a part of the URL that may be one")
    for name in found.empty:
        say(f"{name}: its list has no chat model")
    return found.models, worst.exit_code if worst is not None and not found.answered else exit_codes.OK


def _write(found: list[PricedModel], callable_here: Collection[str], *, as_json: bool) -> None:
    if as_json:
        write_json([model_as_json(one, available=one.model.name in callable_here) for one in found])
    elif sys.stdout.isatty():
        write_text(harmless(model_table(found, callable_here, width())))
    else:
        write_text("".join(f"{one.model.name}\n" for one in found))
