"""`llmroute costs budget`: caps on the cost of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures, say
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.costs.budgets import budgets_as_json, budgets_as_text, cap_as_text
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import RequestError
from llmroute.types import MOST_USD
from llmroute.types.labels import label_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.config import Config

LIFTED = "none"

budget = typer.Typer(invoke_without_command=True)


@budget.callback()
def show(context: typer.Context, as_json: flags.AsJSON = False) -> None:
    """Show or set budgets.

    Shows each cap with the spent, reserved and remaining amounts of its period.
    """
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json):
        from llmroute.cli.configuration import load_noted
        from llmroute.service.costs.maintenance import standings

        config = load_noted()
        found = standings(config)
        if as_json:
            write_json({"budgets": budgets_as_json(found, config.warn_at)})
        elif found:
            write_text(budgets_as_text(found, terminal_width(), config.warn_at))
        else:
            write_text("no budget is set (llmroute costs budget set --month 20)\n")


Amount = Annotated[str | None, typer.Option(metavar="USD", help="Cap in USD; none removes it.")]


@budget.command("set", cls=GroupedCommand, epilog=epilog("costs budget set"))
def set_(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    day: Amount = None,
    week: Amount = None,
    month: Amount = None,
    total: Amount = None,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", help="Set the caps of this workspace only.", autocompletion=candidates.workspaces),
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="Time zone of days, weeks and months, for a ledger on a server.")
    ] = None,
) -> None:
    """Set budgets, for all calls or for one workspace.

    Caps are stored in config.toml, or in the ledger on a server for all its hosts. They apply from the next call on.
    """
    with failures():
        from llmroute.cli.configuration import load_noted

        options = {"day": day, "week": week, "month": month, "total": total}
        given = {period: _amount(period, text) for period, text in options.items() if text is not None}
        if not given:
            raise RequestError("no cap was given", hint="--day, --week, --month or --total USD")
        if workspace == "":
            raise RequestError("the name of the workspace is empty")
        if (problem := label_problem(workspace or "")) is not None:
            raise RequestError(f"the name of the workspace {problem}")
        config = load_noted()
        if config.ledger.server is not None:
            from llmroute.service.costs.shared_budgets import set_shared

            set_shared(config, given, workspace or "", zone)
            _note_own_caps(config, given, workspace or "")
            return
        if zone is not None:
            raise RequestError(
                "--zone requires a ledger on a server", hint="caps in config.toml use the time zone of this machine"
            )
        _set_in_config(config, given, workspace)


def _note_own_caps(config: Config, given: Mapping[str, float | None], workspace: str) -> None:
    """Name the caps of this host that bind beside those that were set, or removed, for all hosts."""
    for limit in config.limits:
        if limit.period in given and limit.workspace == workspace:
            also = "still" if given[limit.period] is None else "as well: the lower binds"
            say(f"{config.config_dir / 'config.toml'} caps this host at {cap_as_text(limit)} {also}")


def _set_in_config(config: Config, caps: dict[str, float | int | None], workspace: str | None) -> None:
    """Write caps in USD by period to config.toml; None removes a cap."""
    from llmroute.config.edit import remove_key, set_value

    path, wait_s = config.config_dir / "config.toml", config.timeouts.ledger_s
    table = ("budgets",) if workspace is None else ("budgets", "workspaces", workspace)
    for period, usd in caps.items():
        if usd is None:
            remove_key(path, table, period, wait_s=wait_s)
        else:
            set_value(path, table, period, usd, wait_s=wait_s)


def _amount(period: str, text: str) -> float | int | None:
    if text.strip().lower() == LIFTED:
        return None
    try:
        usd = float(text)
    except ValueError:
        usd = -1
    if not 0 <= usd <= MOST_USD:
        raise RequestError(
            f"--{period}: {text!r} is not an amount in USD from 0 to {MOST_USD:,}", hint="none removes a cap"
        )
    return int(usd) if usd.is_integer() else usd
