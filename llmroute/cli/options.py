"""The flags that several commands have, each declared once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from llmroute.cli.completion import candidates
from llmroute.cli.output.stdout import STDOUT

Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        help="Only attempts of this workspace.",
        autocompletion=candidates.workspaces,
        rich_help_panel="Attempts",
    ),
]
Execution = Annotated[
    str | None, typer.Option("--execution", help="Only attempts of this execution.", rich_help_panel="Attempts")
]
Period = Annotated[
    str | None,
    typer.Option(
        "--period",
        help="day, week, month (default) or year: until now; yesterday, last-week, last-month; or all.",
        autocompletion=candidates.periods,
        rich_help_panel="Span",
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Start: 24h, 7d or 2w ago, or a date such as 2026-11-01.", rich_help_panel="Span"),
]
Until = Annotated[
    str | None, typer.Option("--until", help="End, in the same forms; default now.", rich_help_panel="Span")
]
AttemptUntil = Annotated[
    str | None, typer.Option("--until", help="End, in the same forms; default none.", rich_help_panel="Span")
]
AttemptModel = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", help="Only attempts of this model, with or without provider.", rich_help_panel="Attempts"
    ),
]
Status = Annotated[
    Literal["pending", "ok", "failed", "rejected", "partial", "interrupted", "lost"] | None,
    typer.Option("--status", help="Only attempts of this status.", rich_help_panel="Attempts"),
]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask for confirmation.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel="Output")]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print no notes on stderr, only errors.", rich_help_panel="Output")
]

Color = Annotated[
    Literal["auto", "always", "never"],
    typer.Option(
        "--color",
        help="Print in color; auto: on a terminal, unless NO_COLOR is set or TERM is dumb.",
        rich_help_panel="Output",
    ),
]


def output_file(text: str) -> Path:
    """Parse the path of a file to write; `Path` drops the slash by which a directory is named.

    Raises:
        typer.BadParameter: it is stdout, empty, or a directory by its form.
    """
    if text == STDOUT:
        raise typer.BadParameter(f"{STDOUT} does not name a file (./{STDOUT} does)")
    return output_file_or_stdout(text)


def output_file_or_stdout(text: str) -> Path:
    """Parse the path of a file to write, or -, which is stdout: no file has the path `Path(STDOUT)`.

    Raises:
        typer.BadParameter: it is empty, or a directory by its form.
    """
    if not text or text.endswith(os.sep):
        raise typer.BadParameter(f"{text!r} does not name a file")
    path = Path(text)
    # `Path` drops "./" too.
    return path.absolute() if path == Path(STDOUT) and text != STDOUT else path


def first_name(option: Any) -> str:
    """Return the first name of an option; typer takes it for a default until it reads the annotation."""
    name: str = option.default
    return name
