"""The flags of commands, each declared once; `request.options` declares those of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llmroute.cli.completion import candidates

PromptArgument = Annotated[
    str | None, typer.Argument(help="The prompt, in quotes. Text from stdin is put before it; - is stdin alone.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print the models that would be tried, and why; send nothing.", rich_help_panel="Model"
    ),
]
EveryCandidate = Annotated[
    bool,
    typer.Option("--all", help="With --dry-run: print all candidates, not only ten.", rich_help_panel="Model"),
]
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
Meta = Annotated[
    Path | None,
    typer.Option("--meta", help="Also write the JSON of the response to this file.", rich_help_panel="Output"),
]
Extract = Annotated[
    bool,
    typer.Option(
        "-x",
        "--extract",
        help="Print only the first fenced code block, if there is one.",
        rich_help_panel="Output",
    ),
]
Render = Annotated[bool, typer.Option("--render", help="Render Markdown on a terminal.", rich_help_panel="Output")]
UsageLine = Annotated[
    bool,
    typer.Option("-u", "--usage", help="Print tokens, cost and time on stderr.", rich_help_panel="Output"),
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print no notes on stderr, only errors.", rich_help_panel="Output")
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Print each step on stderr, and a traceback for a bug.", rich_help_panel="Output"),
]
NoStdin = Annotated[
    bool, typer.Option("--no-stdin", help="Do not read stdin; for shell loops.", rich_help_panel="Answer")
]

Color = Annotated[
    Literal["auto", "always", "never"],
    typer.Option(
        "--color",
        help="Print in color; auto: on a terminal, unless NO_COLOR is set or TERM is dumb.",
        rich_help_panel="Output",
    ),
]

BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="FILE",
        help='Answer each line of this file, {"id": ..., "prompt": "...", any option}; - is stdin.',
        rich_help_panel="Batch",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write the results here instead of stdout, and failed requests to FILE.failed.",
        rich_help_panel="Batch",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip the requests that -o FILE has responses for.", rich_help_panel="Batch"),
]
SchemaMulti = Annotated[
    str | None,
    typer.Option(
        "--schema-multi",
        help='As --schema, for a list of such values: {"items": [...]}.',
        rich_help_panel="Answer",
    ),
]
CheckTimeout = Annotated[
    float | None,
    typer.Option(
        "--check-timeout",
        metavar="SECONDS",
        help="Time limit of --check in seconds; default 60.",
        rich_help_panel="Limits",
    ),
]
OfWholeAnswer = Annotated[
    list[str] | None,
    typer.Option("--schema", "--schema-multi", "--check", "--check-timeout", "--max-rejections", hidden=True),
]
"""Flags of `gen` that a stream rejects in words of its own."""
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, max=1024, metavar="N", help="Maximum concurrent requests; default 8.", rich_help_panel="Batch"
    ),
]
Unordered = Annotated[
    bool,
    typer.Option("--unordered", help="Write results as they arrive, not in input order.", rich_help_panel="Batch"),
]
Lines = Annotated[bool, typer.Option("--lines", help="Each line of the file is a prompt.", rich_help_panel="Batch")]
Column = Annotated[
    str | None,
    typer.Option("--column", help="The file is CSV with prompts in this column.", rich_help_panel="Batch"),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", help="The CSV delimiter; default a comma, or a tab in a .tsv file.", rich_help_panel="Batch"
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="The encoding of stdin and --batch FILE; default UTF-8.",
        rich_help_panel="Answer",
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        help="A prompt with {text} for the line's prompt, {name} for a field: 'Translate: {text}'.",
        rich_help_panel="Batch",
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        "--within",
        metavar="DURATION",
        help="Cancel lines without an answer after this time, 1h to 24h; default 24h.",
        rich_help_panel="Batch jobs (--tier batch)",
    ),
]
Rescue = Annotated[
    bool,
    typer.Option(
        "--rescue",
        help="Answer cancelled, expired and invalid lines by ordinary requests.",
        rich_help_panel="Batch jobs (--tier batch)",
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Exit after submission; --resume collects the results.",
        rich_help_panel="Batch jobs (--tier batch)",
    ),
]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll",
        metavar="SECONDS",
        help="Time between status queries; default 10, growing to 60.",
        rich_help_panel="Batch jobs (--tier batch)",
    ),
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Keep uploaded files and results at the provider.",
        rich_help_panel="Batch jobs (--tier batch)",
    ),
]
