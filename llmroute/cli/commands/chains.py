"""`llmroute chains`: the fallback chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute import exit_codes
from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures, say, told_error
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import columns, money
from llmroute.cli.output.terminal import can_ask, harmless
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.service.client import LLMService
    from llmroute.service.models.chains import ChainEntry, ChainTrial

chains = typer.Typer(invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="The chain, in any case of letters.", autocompletion=candidates.chains)]


@chains.callback()
def _list(context: typer.Context, as_json: flags.AsJSON = False) -> None:
    """List the fallback chains; keep and test your own.

    Shown is what each entry is today, and whether it can be called from here.
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
            help="Letters, digits, - and _; one that there is is replaced.", autocompletion=candidates.chains
        ),
    ],
    models: Annotated[
        list[str],
        typer.Argument(help="provider/model, in the order in which they are tried.", autocompletion=candidates.models),
    ],
) -> None:
    """Write a chain of your own into config.toml.

    All else in it stays as it is.
    """
    with failures():
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import set_chain

        for note in set_chain(LLMService(note=say), name, models):
            say(note)


@chains.command(cls=GroupedCommand, epilog=epilog("chains remove"))
def remove(name: Name) -> None:
    """Remove a chain of your own from config.toml."""
    with failures():
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import remove_chain

        for note in remove_chain(LLMService(note=say), name):
            say(note)


@chains.command("test", cls=GroupedCommand, epilog=epilog("chains test"))
def call_each(
    name: Name,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Call them without asking.")] = False,
    as_json: flags.AsJSON = False,
) -> None:
    """Call each entry with a one-token prompt.

    What that costs is shown first; exit 4 when one fails.
    """
    with failures(as_json=as_json):
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import chains_today, try_entries

        service = LLMService(note=say)
        try:
            ((known, entries),) = chains_today(service, name).items()
            say(_price(service, known, entries))
            if not (yes or _agreed()):
                raise RequestError("nothing was sent", hint="--yes calls them without asking")
            failed = False
            for tried in try_entries(service, entries):
                failed = failed or tried.error is not None
                if as_json:
                    write_json(_tried_as_json(tried))
                else:
                    write_text(harmless(_tried_as_text(tried)))
        finally:
            service.close()
        if failed:
            raise typer.Exit(exit_codes.TRY_LATER)


def _write(name: str | None, *, as_json: bool) -> None:
    with failures(as_json=as_json):
        from llmroute.service.client import LLMService
        from llmroute.service.models.chains import chains_today

        found = chains_today(LLMService(note=say), name)
        if as_json:
            write_json({name: _as_json(entries) for name, entries in found.items()})
        else:
            write_text(harmless(_as_text(found)))


def _as_json(entries: Sequence[ChainEntry]) -> dict[str, Any]:
    return {
        "entries": [entry.written for entry in entries],
        "resolved": [entry.resolved for entry in entries],
        "usable": [entry.problem is None for entry in entries],
    }


def _as_text(found: dict[str, list[ChainEntry]]) -> str:
    rows = [
        [name if index == 0 else "", entry.written, entry.resolved or "-", entry.problem or "usable"]
        for name, entries in found.items()
        for index, entry in enumerate(entries)
    ]
    return columns(("chain", "entry", "today", ""), rows)


def _price(service: LLMService, name: str, entries: Sequence[ChainEntry]) -> str:
    from llmroute.planning.usage_cost import usd
    from llmroute.service.models.chains import expected_test_cost_picousd

    expected, worst, unknown = expected_test_cost_picousd(service, entries)
    calls = sum(entry.problem is None for entry in entries)
    told = (
        f"{name}: {calls} call{'' if calls == 1 else 's'}, expected {money(usd(expected))}, at most {money(usd(worst))}"
    )
    return told + (f", and the unknown price of {', '.join(unknown)}" if unknown else "")


def _agreed() -> bool:
    """Ask on a terminal, and nowhere else."""
    return can_ask() and typer.confirm("call them?", err=True)


def _tried_as_text(tried: ChainTrial) -> str:
    who = tried.entry.resolved or tried.entry.written
    if (response := tried.response) is not None:
        return f"ok      {who}  {response.latency_ms} ms  {money(response.cost_usd)}\n"
    assert tried.error is not None
    return f"failed  {who}  {told_error(tried.error).removeprefix(f'{who}: ')}\n"


def _tried_as_json(tried: ChainTrial) -> dict[str, Any]:
    response, error = tried.response, tried.error
    return {
        "entry": tried.entry.written,
        "resolved": tried.entry.resolved,
        "ok": error is None,
        "latency_ms": response.latency_ms if response else None,
        "cost_usd": response.cost_usd if response else None,
        "error": error.kind if error else None,
        "detail": told_error(error) if error else None,
    }
