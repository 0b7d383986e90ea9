"""The flags of `gen --batch`, each declared once: the command, its checks and its messages derive from these fields."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from llmroute.bulk.concurrency import CONCURRENCY, MOST_CONCURRENCY
from llmroute.cli.options import first_name, output_file_or_stdout
from llmroute.cli.output.stdout import STDOUT
from llmroute.types import BATCH

PANEL = "Batch"
JOBS_PANEL = f"Batch jobs (--tier {BATCH})"


def _file(output: Path | None) -> Path | None:
    """Return the path of a file; None for -, which is stdout, as without the flag."""
    return None if output == Path(STDOUT) else output


class BatchOptions(NamedTuple):
    """A file of requests: how it is read, answered and written.  Those of `JOBS_PANEL` are for jobs at batch APIs."""

    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="FILE",
            help='Answer each line of this file, {"id": ..., "prompt": "...", any option}; - is stdin.',
            rich_help_panel=PANEL,
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            parser=output_file_or_stdout,
            callback=_file,
            help="Write the results here instead of stdout, and failed requests to FILE.failed.",
            rich_help_panel=PANEL,
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the requests that -o FILE has responses for.", rich_help_panel=PANEL)
    ] = False
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=MOST_CONCURRENCY,
            metavar="N",
            help=f"Maximum concurrent requests; default {CONCURRENCY}.",
            rich_help_panel=PANEL,
        ),
    ] = None
    unordered: Annotated[
        bool,
        typer.Option("--unordered", help="Write results as they arrive, not in input order.", rich_help_panel=PANEL),
    ] = False
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of the file is a prompt.", rich_help_panel=PANEL)
    ] = False
    column: Annotated[
        str | None, typer.Option("--column", help="The file is CSV with prompts in this column.", rich_help_panel=PANEL)
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter", help="The CSV delimiter; default a comma, or a tab in a .tsv file.", rich_help_panel=PANEL
        ),
    ] = None
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            help="A prompt with {text} for the line's prompt, {name} for a field: 'Translate: {text}'.",
            rich_help_panel=PANEL,
        ),
    ] = None
    within: Annotated[
        str | None,
        typer.Option(
            "--within",
            metavar="DURATION",
            help="Cancel lines without an answer after this time, 1h to 24h; default 24h.",
            rich_help_panel=JOBS_PANEL,
        ),
    ] = None
    rescue: Annotated[
        bool,
        typer.Option(
            "--rescue",
            help="Answer cancelled, expired and invalid lines by ordinary requests.",
            rich_help_panel=JOBS_PANEL,
        ),
    ] = False
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Exit after submission; --resume collects the results.", rich_help_panel=JOBS_PANEL
        ),
    ] = False
    poll_s: Annotated[
        float | None,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            help="Time between status queries; default 10, growing to 60.",
            rich_help_panel=JOBS_PANEL,
        ),
    ] = None
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep uploaded files and results at the provider.", rich_help_panel=JOBS_PANEL),
    ] = False

    @property
    def file(self) -> str:
        """The name of the file; - is stdin."""
        assert self.batch is not None
        return self.batch

    def has_any(self, *panels: str) -> bool:
        """Whether a flag of a panel was given, `--batch` apart."""
        return any(getattr(self, name) != self._field_defaults[name] for name in _declared(panels))


def names(*panels: str) -> str:
    """Return the flags of panels, `--batch` apart, as a message lists them."""
    *others, last = (first_name(option) for option in _declared(panels).values())
    return f"{', '.join(others)} and {last}"


def _declared(panels: tuple[str, ...]) -> dict[str, Any]:
    hints = get_type_hints(BatchOptions, include_extras=True)
    options = {name: hint.__metadata__[0] for name, hint in hints.items() if name != "batch"}
    return {name: option for name, option in options.items() if option.rich_help_panel in panels}
