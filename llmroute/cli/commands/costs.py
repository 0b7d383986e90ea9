"""`llmroute costs`: the bill."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmroute.cli import options as flags
from llmroute.cli.commands.costs_attempts import calls, correct, export, path, tell_if_unknown
from llmroute.cli.commands.costs_budget import budget
from llmroute.cli.commands.costs_ledger import backup, check, prune, restore
from llmroute.cli.completion import candidates
from llmroute.cli.errors import failures
from llmroute.cli.help import GroupedCommand, GroupedGroup, epilog
from llmroute.cli.output.costs import as_csv, as_json, as_markdown, report_parts
from llmroute.cli.output.stdout import write_json, write_text
from llmroute.cli.output.tables import rendered
from llmroute.cli.output.terminal import fancy, harmless, width
from llmroute.errors import RequestError

if TYPE_CHECKING:
    from datetime import datetime

    from llmroute.config import Config
    from llmroute.service.costs.report import CostQuery

Form = Literal["text", "json", "csv", "md"]
Period = Annotated[
    str | None,
    typer.Option(
        help="The current day, week, month, year or all, in your time zone; default month.",
        autocompletion=candidates.periods,
        rich_help_panel="Span",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        help="Instead of a period: from 24h, 7d or 2w ago, exactly that and down to a quarter of an hour,"
        " or from the beginning of 2026-11-01 on.",
        rich_help_panel="Span",
    ),
]
Until = Annotated[str | None, typer.Option(help="Up to then, said likewise; default now.", rich_help_panel="Span")]
By = Annotated[
    Literal["model", "provider", "day", "hour", "workspace", "task", "strategy", "status", "execution"] | None,
    typer.Option(help="A line for each of these; default model.", rich_help_panel="Output"),
]

costs = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)
costs.add_typer(budget, name="budget", cls=GroupedGroup, epilog=epilog("costs budget"))
for command in (calls, correct, export, path, check, backup, restore, prune):
    costs.command(cls=GroupedCommand, epilog=epilog(f"costs {command.__name__}"))(command)


@costs.callback()
def report(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    context: typer.Context,
    period: Period = None,
    since: Since = None,
    until: Until = None,
    by: By = None,
    workspace: flags.Workspace = None,
    color: flags.Color = "auto",
    as_json_: flags.AsJSON = False,
    as_csv_: Annotated[bool, typer.Option("--csv", help="The table as CSV.", rich_help_panel="Output")] = False,
    as_md: Annotated[bool, typer.Option("--md", help="The table as Markdown.", rich_help_panel="Output")] = False,
) -> None:
    """Show what calls cost; list them; set budgets; keep the ledger."""
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json_):
        from llmroute.planning.settings import load
        from llmroute.service.costs.report import CostQuery

        forms: dict[Form, bool] = {"json": as_json_, "csv": as_csv_, "md": as_md}
        asked = [form for form, wanted in forms.items() if wanted]
        if len(asked) > 1:
            raise RequestError(f"--{' and --'.join(asked)} exclude each other")
        question = CostQuery(period, since, until, by, workspace)
        config = load()
        show(config, question, asked[0] if asked else "text", color=color)
        if workspace:
            tell_if_unknown(config, workspace)


def show(
    config: Config, question: CostQuery, form: Form = "text", *, color: str = "auto", now: datetime | None = None
) -> None:
    """Answer a question about the bill on stdout.

    Raises:
        RequestError: there is no such period or span.
        LedgerError: the ledger cannot be read.
    """
    if form == "text":
        from llmroute.service.costs.comparison import cost_screen

        screen = cost_screen(config, question, charts=fancy(color), now=now)
        fit = width() if screen.charts or sys.stdout.isatty() else None
        parts = report_parts(screen.report, screen.comparison, screen.charts, fit)
        write_text(rendered(parts, fit, color=bool(screen.charts)))
        return
    from llmroute.service.costs.report import bill

    report = bill(config, question, now=now)
    if form == "json":
        write_json(as_json(report))
    else:
        text = as_csv(report) if form == "csv" else as_markdown(report)
        write_text(harmless(text) if sys.stdout.isatty() else text)
