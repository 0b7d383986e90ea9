"""Option types that commands share, so that a flag reads the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llmroute.cli.completion import candidates

PromptArgument = Annotated[str | None, typer.Argument(help="The prompt; stdin is put before it, and - is stdin alone.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="provider/model, a bare model, an alias, or a family (its newest).",
        autocompletion=candidates.models,
        rich_help_panel="Model",
    ),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--provider",
        help="Take the best model of this provider.",
        autocompletion=candidates.providers,
        rich_help_panel="Model",
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy", help="How the model is chosen.", autocompletion=candidates.strategies, rich_help_panel="Model"
    ),
]
Chain = Annotated[
    str | None,
    typer.Option(
        "--chain",
        help="Try the models of this chain, in its order.",
        autocompletion=candidates.chains,
        rich_help_panel="Model",
    ),
]
Fallback = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        help="Try this model when that of -m, -p or --strategy fails; repeatable. Without these a chain.",
        autocompletion=candidates.models,
        rich_help_panel="Model",
    ),
]
FallbackOnOption = Annotated[
    str | None,
    typer.Option(
        "--fallback-on",
        help="content: ask another model when one refuses or filters, too.",
        autocompletion=candidates.fallback_on,
        rich_help_panel="Model",
    ),
]
Atomic = Annotated[
    bool,
    typer.Option(
        "--atomic", help="Show the answer only when it is whole: fall back to its end.", rich_help_panel="Answer"
    ),
]
NoUpgrade = Annotated[
    bool, typer.Option("--no-upgrade", help="Never fall back to what costs over 3x the first.", rich_help_panel="Model")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show which models would be tried, and why; send nothing.", rich_help_panel="Model"),
]
EveryCandidate = Annotated[
    bool,
    typer.Option("--all", help="With --dry-run: show every candidate, not ten.", rich_help_panel="Model"),
]
CapabilityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--capability",
        help="What the model must be able to do; repeatable.",
        autocompletion=candidates.capabilities,
        rich_help_panel="Model",
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="What the prompt is for; implies a capability.",
        autocompletion=candidates.tasks,
        rich_help_panel="Model",
    ),
]
System = Annotated[str | None, typer.Option("-s", "--system", help="The system prompt.", rich_help_panel="Answer")]
Temperature = Annotated[float | None, typer.Option("-t", "--temperature", help="0 to 2.", rich_help_panel="Answer")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", help="The longest answer, reasoning included.", rich_help_panel="Answer")
]
EffortOption = Annotated[
    str | None,
    typer.Option(
        "--effort", help="none, low, medium or high.", autocompletion=candidates.efforts, rich_help_panel="Answer"
    ),
]
TierOption = Annotated[
    str | None,
    typer.Option(
        "--tier",
        help="OpenAI's service tier: standard, flex or priority.",
        autocompletion=candidates.tiers,
        rich_help_panel="Model",
    ),
]
Worth = Annotated[
    float | None,
    typer.Option("--worth", help="USD that a wrong answer costs, for balanced; 0.20.", rich_help_panel="Model"),
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", help="End the answer before this text; repeatable.", rich_help_panel="Answer"),
]
StrictParams = Annotated[
    bool,
    typer.Option(
        "--strict-params",
        help="Only models that take every parameter, instead of leaving some out.",
        rich_help_panel="Model",
    ),
]
NoFallback = Annotated[bool, typer.Option("--no-fallback", help="Try the first model only.", rich_help_panel="Model")]
MaxAttempts = Annotated[
    int | None,
    typer.Option("--max-attempts", help="Calls at most; default 8, or each of a list once.", rich_help_panel="Limits"),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", help="USD that the request may cost, fallbacks included.", rich_help_panel="Limits"),
]
OnBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--on-budget",
        help="cheaper: take a model that fits the budgets; refuse: exit 5 instead, the default of a batch with -m.",
        autocompletion=candidates.on_budget,
        rich_help_panel="Limits",
    ),
]
MaxLatency = Annotated[
    int | None, typer.Option("--max-latency", help="Milliseconds that the answer may take.", rich_help_panel="Limits")
]
MinQuality = Annotated[int | None, typer.Option("--min-quality", help="0 to 100.", rich_help_panel="Limits")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", help="Seconds for the whole request; default 300.", rich_help_panel="Limits"),
]
PreferLocal = Annotated[
    bool, typer.Option("--prefer-local", help="Models of this machine before all others.", rich_help_panel="Model")
]
LocalOnly = Annotated[bool, typer.Option("--local-only", help="Never leave this machine.", rich_help_panel="Model")]
Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", help="Whose bill it is on.", autocompletion=candidates.workspaces, rich_help_panel="Bill"
    ),
]
Execution = Annotated[
    str | None, typer.Option("--execution", help="Which run of yours it belongs to.", rich_help_panel="Bill")
]
AsJSON = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of text.", rich_help_panel="Output")]
Meta = Annotated[
    Path | None, typer.Option("--meta", help="Write what --json tells into this file.", rich_help_panel="Output")
]
Extract = Annotated[
    bool,
    typer.Option(
        "-x",
        "--extract",
        help="Only the first fenced block; the whole text when there is none.",
        rich_help_panel="Output",
    ),
]
Render = Annotated[bool, typer.Option("--render", help="Show Markdown, on a terminal.", rich_help_panel="Output")]
UsageLine = Annotated[
    bool,
    typer.Option("-u", "--usage", help="One line about tokens, cost and time on stderr.", rich_help_panel="Output"),
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="No notes on stderr; errors still.", rich_help_panel="Output")
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Each step on stderr, and a trace when it is a bug.", rich_help_panel="Output")
]
NoStdin = Annotated[
    bool, typer.Option("--no-stdin", help="Leave stdin alone, as loops need it.", rich_help_panel="Answer")
]

Color = Annotated[
    Literal["auto", "always", "never"],
    typer.Option(
        "--color", help="auto: on a terminal, unless NO_COLOR is set or TERM is dumb.", rich_help_panel="Output"
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
        help="Write the results here instead of stdout; what fails is listed in FILE.failed.",
        rich_help_panel="Batch",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on: what is answered in -o FILE is not asked again.", rich_help_panel="Batch"),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=1024, help="How many requests at once; default 8.", rich_help_panel="Batch"),
]
Unordered = Annotated[
    bool, typer.Option("--unordered", help="Results as they come, not in the input's order.", rich_help_panel="Batch")
]
Lines = Annotated[bool, typer.Option("--lines", help="Each line of the file is a prompt.", rich_help_panel="Batch")]
Column = Annotated[
    str | None,
    typer.Option("--column", help="The file is CSV, and this column holds the prompts.", rich_help_panel="Batch"),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", help="Between the cells of CSV: , or tab in a .tsv file, else as said.", rich_help_panel="Batch"
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", help="Of stdin and of --batch FILE; default UTF-8.", rich_help_panel="Answer"
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        help="'Translate: {text}': the prompt, with {text} for the line's and {name} for any of its fields.",
        rich_help_panel="Batch",
    ),
]
