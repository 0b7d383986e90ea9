"""`llmroute costs budget`: caps on what calls may cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures
from llmroute.cli.help import GroupedCommand, epilog
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import cell, columns, fitted, money
from llmroute.cli.output.terminal import terminal_width
from llmroute.errors import RequestError
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from llmroute.ledger.budgets import BudgetStatus

LIFTED = "none"
MOST_USD = 1_000_000

budget = typer.Typer(invoke_without_command=True)


@budget.callback()
def show(context: typer.Context, as_json: flags.AsJSON = False) -> None:
    """Show or set caps on what calls may cost.

    Shown are each cap, what is spent and reserved in its window, and what is left.
    """
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json):
        from llmroute.planning.settings import load
        from llmroute.service.costs.maintenance import standings

        found = standings(load())
        if as_json:
            write_json({"budgets": [_as_json(standing) for standing in found]})
        elif found:
            write_text(_as_text(found, terminal_width()))
        else:
            write_text("no budget is set (llmroute costs budget set --month 20)\n")


Amount = Annotated[str | None, typer.Option(metavar="USD", help="USD; none lifts the cap.")]


@budget.command("set", cls=GroupedCommand, epilog=epilog("costs budget set"))
def set_(
    day: Amount = None,
    week: Amount = None,
    month: Amount = None,
    total: Amount = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", help="Cap this workspace only.", autocompletion=candidates.workspaces)
    ] = None,
) -> None:
    """Set caps, for all calls or for one workspace.

    They are kept in config.toml and bind from the next call on.
    """
    with failures():
        from llmroute.config.edit import remove_key, set_value
        from llmroute.planning.settings import load

        asked = {"day": day, "week": week, "month": month, "total": total}
        given = {period: _amount(period, text) for period, text in asked.items() if text is not None}
        if not given:
            raise RequestError("no cap was given", hint="--day, --week, --month or --total USD")
        if workspace == "":
            raise RequestError("the workspace has no name")
        config = load()
        path, wait_s = config.config_dir / "config.toml", config.timeouts.ledger_s
        table = ("budgets",) if workspace is None else ("budgets", "workspaces", workspace)
        for period, usd in given.items():
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
        raise RequestError(f"--{period}: {text!r} is no amount of USD from 0 to {MOST_USD:,}", hint="none lifts a cap")
    return int(usd) if usd.is_integer() else usd


def _as_json(standing: BudgetStatus) -> dict[str, Any]:
    cap = standing.cap
    return {
        "period": cap.period,
        "workspace": cap.workspace or None,
        "cap_usd": cap.cap_picousd / PICO_PER_USD,
        "spent_usd": standing.spent_picousd / PICO_PER_USD,
        "reserved_usd": standing.reserved_picousd / PICO_PER_USD,
        "left_usd": max(standing.left_picousd, 0) / PICO_PER_USD,
        "over_usd": standing.over_picousd / PICO_PER_USD,
        "resets": None if cap.end_ms is None else _local(cap.end_ms).isoformat(),
    }


def _as_text(found: list[BudgetStatus], width: int | None) -> str:
    rows = [
        [
            cell(standing.cap.workspace) or "all",
            standing.cap.period,
            *(
                money(picousd / PICO_PER_USD)
                for picousd in (standing.cap.cap_picousd, standing.spent_picousd, standing.reserved_picousd)
            ),
            _left(standing),
            "never" if standing.cap.end_ms is None else f"{_local(standing.cap.end_ms):%Y-%m-%d %H:%M}",
        ]
        for standing in found
    ]
    head = ("workspace", "per", "cap", "spent", "reserved", "left", "starts anew")
    numbers = (2, 3, 4, 5)
    return columns(head, rows, numbers) if width is None else fitted(head, rows, 0, width, numbers)


def _left(standing: BudgetStatus) -> str:
    left = money(max(standing.left_picousd, 0) / PICO_PER_USD)
    return f"{left} (over by {money(standing.over_picousd / PICO_PER_USD)})" if standing.over_picousd else left


def _local(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
