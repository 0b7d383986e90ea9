"""`llmroute costs`: the cost report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmroute.cli import options as flags
from llmroute.cli.commands.costs_attempts import calls, correct, export, path
from llmroute.cli.commands.costs_budget import budget
from llmroute.cli.commands.costs_ledger import backup, check, move, prune, restore
from llmroute.cli.commands.costs_reconcile import reconcile
from llmroute.cli.errors import failures, say
from llmroute.cli.help import GroupedCommand, GroupedGroup, epilog
from llmroute.cli.output.costs.formats import as_csv, as_json, as_markdown
from llmroute.cli.output.costs.text import report_parts
from llmroute.cli.output.stdout import STDOUT, write_json, write_text
from llmroute.cli.output.tables import rendered
from llmroute.cli.output.terminal import fancy, harmless, width
from llmroute.errors import RequestError
from llmroute.types import Dimension

if TYPE_CHECKING:
    from datetime import datetime

    from llmroute.config import Config
    from llmroute.service.costs.report import CostQuery

Form = Literal["text", "json", "csv", "md", "html"]
By = Annotated[
    Dimension | None,
    typer.Option("--by", help="Group by this; default model.", rich_help_panel="Output"),
]
HTMLFile = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        parser=flags.output_file_or_stdout,
        help="Write an HTML page with charts and tables; - is stdout.",
        rich_help_panel="Output",
    ),
]

costs = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
costs.add_typer(budget, name="budget", cls=GroupedGroup, epilog=epilog("costs budget"))
for command in (calls, correct, export, reconcile, path, check, backup, restore, move, prune):
    costs.command(cls=GroupedCommand, epilog=epilog(f"costs {command.__name__}"))(command)


@costs.callback()
def report(  # noqa: PLR0913, PLR0917 (typer makes an option of each)
    context: typer.Context,
    period: flags.Period = None,
    since: flags.Since = None,
    until: flags.Until = None,
    by: By = None,
    workspace: flags.Workspace = None,
    color: flags.Color = "auto",
    as_json_: flags.AsJSON = False,
    as_csv_: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.", rich_help_panel="Output")] = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print the table as Markdown.", rich_help_panel="Output")] = False,
    html: HTMLFile = None,
) -> None:
    """Report costs, list attempts, set budgets, maintain the ledger."""
    if context.invoked_subcommand is not None:
        return
    with failures(as_json=as_json_):
        from llmroute.cli.configuration import load_noted, note_missing
        from llmroute.service.costs.report import CostQuery

        forms: dict[Form, bool] = {"json": as_json_, "csv": as_csv_, "md": as_md, "html": html is not None}
        chosen = [form for form, is_given in forms.items() if is_given]
        if len(chosen) > 1:
            raise RequestError(f"--{' and --'.join(chosen)} exclude each other")
        query = CostQuery(period, since, until, by, workspace)
        config = load_noted()
        if html is None:
            show(config, query, chosen[0] if chosen else "text", color=color)
        else:
            write_page(config, query, html)
        note_missing(config, workspace)


def write_page(config: Config, query: CostQuery, file: Path) -> None:
    """Write a cost report as an HTML page, which replaces `file` when it is complete; `-` is stdout.

    Raises:
        RequestError: the period, the span or the path is invalid.
        LedgerError: the ledger cannot be read.
        OutputError: the file cannot be written, or jinja2 is not installed.
    """
    from datetime import datetime

    from llmroute.cli.costs_page.page import rendered_page, require_templates
    from llmroute.files import cannot_write, regular_target, replace
    from llmroute.service.costs.page_data import cost_page
    from llmroute.service.own_files import require_other_file

    require_templates()
    require_other_file(config, file)
    now = datetime.now().astimezone()
    text = rendered_page(cost_page(config, query, now=now), config.warn_at, now)
    if file == Path(STDOUT):
        write_text(text)
        return
    try:
        replace(regular_target(file), text.encode("utf-8", "replace"))
    except OSError as error:
        raise cannot_write(file, error) from error
    say(f"report written to {file}")


def show(
    config: Config, query: CostQuery, form: Form = "text", *, color: str = "auto", now: datetime | None = None
) -> None:
    """Print a cost report.

    Raises:
        RequestError: the period or the span is invalid.
        LedgerError: the ledger cannot be read.
    """
    if form == "text":
        from llmroute.service.costs.comparison import cost_screen

        screen = cost_screen(config, query, charts=fancy(color), now=now)
        fit = width() if screen.charts or sys.stdout.isatty() else None
        parts = report_parts(screen.report, screen.comparison, screen.charts, fit)
        write_text(rendered(parts, fit, color=bool(screen.charts)))
        return
    from llmroute.service.costs.report import bill

    report = bill(config, query, now=now)
    if form == "json":
        write_json(as_json(report))
    else:
        text = as_csv(report) if form == "csv" else as_markdown(report)
        write_text(harmless(text) if sys.stdout.isatty() else text)
