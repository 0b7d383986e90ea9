"""`llmroute chains`: list, edit and test fallback chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import error_text, failures, say
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns, fitted
from llmroute.cli.output.terminal import can_confirm, harmless, terminal_width
from llmroute.errors import RequestError
from llmroute.text.money import money
from llmroute.text.plural import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.service.client import LLMService
    from llmroute.service.models.chains import ChainEntry, ChainTrial

chains = typer.Typer(invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="The chain, in upper or lower case.", autocompletion=candidates.chains)]


@chains.callback()
def _list(context: typer.Context, as_json: flags.AsJSON = False) -> None:
    """List, edit and test fallback chains.

    Shows each entry with its current model, and whether it is available.
    """
    if context.invoked_subcommand is None:
        _write(None, as_json=as_json)


@chains.command(cls=GroupedCommand, epilog=epilog("chains show"))
def show(name: Name, as_json: flags.AsJSON = False) -> None:
    """Show one chain."""
    _write(name, as_json=as_json)


@chains.command("set", cls=GroupedCommand, epilog=epilog("chains set"))
def set_(
    name: Annotated[
        str,
        typer.Argument(
            help="Letters, digits, - and _; an existing chain is replaced.", autocompletion=candidates.chains
        ),
    ],
    models: Annotated[
        list[str],
        typer.Argument(help="provider/model, in order.", autocompletion=candidates.models),
    ],
) -> None:
    """Write a chain to config.toml.

    The rest of the file stays unchanged.
    """
    with failures():
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import set_chain

        for note in set_chain(LLMService(note=say).core, name, models):
            say(note)


@chains.command(cls=GroupedCommand, epilog=epilog("chains remove"))
def remove(name: Name) -> None:
    """Remove a chain from config.toml."""
    with failures():
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import remove_chain

        for note in remove_chain(LLMService(note=say).core, name):
            say(note)


@chains.command("test", cls=GroupedCommand, epilog=epilog("chains test"))
def call_each(
    name: Name,
    yes: flags.Yes = False,
    as_json: flags.AsJSON = False,
) -> None:
    """Call each entry with a one-token prompt.

    The cost is shown first and needs confirmation or --yes. Exits with 4 if an entry fails.
    """
    with failures(as_json=as_json):
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import chains_today, try_entries

        service = LLMService(note=say)
        try:
            ((chain, entries),) = chains_today(service.core, name).items()
            say(_price(service, chain, entries))
            if not (yes or (can_confirm() and typer.confirm("call them?", err=True))):
                raise RequestError("nothing was sent", hint="--yes calls them without asking")
            failed = False
            for trial in try_entries(service, entries):
                failed = failed or trial.error is not None
                if as_json:
                    write_json(_trial_as_json(trial))
                else:
                    write_text(harmless(_trial_as_text(trial)))
        finally:
            service.close()
        if failed:
            raise typer.Exit(exit_codes.TRY_LATER)


def _write(name: str | None, *, as_json: bool) -> None:
    with failures(as_json=as_json):
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import chains_today

        found = chains_today(LLMService(note=say).core, name)
        if as_json:
            write_json({name: _as_json(entries) for name, entries in found.items()})
        else:
            write_text(harmless(_as_text(found, terminal_width())))


def _as_json(entries: Sequence[ChainEntry]) -> dict[str, Any]:
    return {
        "entries": [entry.written for entry in entries],
        "resolved": [entry.resolved for entry in entries],
        "usable": [entry.problem is None for entry in entries],
    }


def _as_text(found: dict[str, list[ChainEntry]], width: int | None) -> str:
    rows = [
        [name if index == 0 else "", entry.written, entry.resolved or "-", entry.problem or "usable"]
        for name, entries in found.items()
        for index, entry in enumerate(entries)
    ]
    head = ("chain", "entry", "today", "")
    return columns(head, rows) if width is None else fitted(head, rows, 1, width)


def _price(service: LLMService, name: str, entries: Sequence[ChainEntry]) -> str:
    from llmroute.planning.usage_cost import usd
    from llmroute.service.models.chains import expected_test_cost_picousd

    expected, worst, unknown = expected_test_cost_picousd(service.core, entries)
    calls = sum(entry.problem is None for entry in entries)
    text = f"{name}: {many(calls, 'call')}, expected {money(usd(expected))}, at most {money(usd(worst))}"
    return text + (f"; price unknown: {', '.join(unknown)}" if unknown else "")


def _trial_as_text(trial: ChainTrial) -> str:
    model = trial.entry.resolved or trial.entry.written
    if (response := trial.response) is not None:
        return f"ok      {model}  {response.latency_ms} ms  {money(response.cost_usd)}\n"
    assert trial.error is not None
    return f"failed  {model}  {error_text(trial.error).removeprefix(f'{model}: ')}\n"


def _trial_as_json(trial: ChainTrial) -> dict[str, Any]:
    response, error = trial.response, trial.error
    return {
        "entry": trial.entry.written,
        "resolved": trial.entry.resolved,
        "ok": error is None,
        "latency_ms": response.latency_ms if response else None,
        "cost_usd": response.cost_usd if response else None,
        "error": error.kind if error else None,
        "detail": error_text(error) if error else None,
    }
