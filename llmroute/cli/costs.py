"""`llmroute costs`: the bill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmroute.cli import options as flags  # noqa: TC001 (typer reads annotations at run time)
from llmroute.cli.costs_budget import budget
from llmroute.cli.costs_keep import backup, check, prune
from llmroute.cli.failures import failures
from llmroute.cli.output import write_json, write_text
from llmroute.cli.render import columns, money
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from llmroute.ledger.reports import Line
    from llmroute.service.billing import Bill

costs = typer.Typer(help="Show what calls cost; set budgets; keep the ledger.", invoke_without_command=True)
costs.add_typer(budget, name="budget")
for command in (check, backup, prune):
    costs.command()(command)


@costs.callback()
def report(
    context: typer.Context,
    period: Annotated[str, typer.Option(help="day, week, month, year or all, in your time zone.")] = "month",
    workspace: flags.Workspace = None,
    as_json: flags.AsJSON = False,
) -> None:
    """Show what calls cost, from the ledger."""
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json):
        from llmroute.service.billing import PERIODS, bill
        from llmroute.service.settings import load

        if period not in PERIODS:
            raise RequestError(f"period {period!r} is none of {', '.join(PERIODS)}")
        told = bill(load(), period, workspace)
        if as_json:
            write_json(_as_json(told))
        else:
            write_text(_as_text(told))


def _as_json(told: Bill) -> dict[str, Any]:
    total = told.total
    return {
        "period": told.period,
        "since": told.since.isoformat() if told.since else None,
        "until": told.until.isoformat(timespec="seconds"),
        "workspace": told.workspace,
        "total_cost_usd": total.cost_usd,
        "unknown_cost_count": total.unknown_cost_count,
        "call_count": total.call_count,
        "failed_count": total.failed_count,
        "total_tokens": total.input_tokens + total.output_tokens,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "by_model": [_line_as_json(line) for line in told.by_model],
        "groups": [],
    }


def _line_as_json(line: Line) -> dict[str, Any]:
    return {
        **line.key,
        "cost_usd": line.cost_usd,
        "unknown_cost_count": line.unknown_cost_count,
        "call_count": line.call_count,
        "failed_count": line.failed_count,
        "input_tokens": line.input_tokens,
        "cached_input_tokens": line.cached_input_tokens,
        "output_tokens": line.output_tokens,
        "reasoning_tokens": line.reasoning_tokens,
    }


def _as_text(told: Bill) -> str:
    total = told.total
    span = "in all" if told.since is None else f"since {told.since:%Y-%m-%d}"
    unknown = f", {total.unknown_cost_count} of them at an unknown cost" if total.unknown_cost_count else ""
    head = f"{money(total.cost_usd)} {span}: {total.call_count} calls ({total.failed_count} failed){unknown}\n"
    if not told.by_model:
        return head
    rows = [
        [
            f"{line.key['provider']}/{line.key['model']}",
            money(line.cost_usd) + ("+?" if line.unknown_cost_count else ""),
            str(line.call_count),
            str(line.failed_count),
            f"{line.input_tokens:,}",
            f"{line.output_tokens:,}",
        ]
        for line in told.by_model
    ]
    return head + "\n" + columns(("model", "cost", "calls", "failed", "in", "out"), rows, numbers=(1, 2, 3, 4, 5))
