"""Option types that commands share, so that a flag reads the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Prompt = Annotated[str | None, typer.Argument(help="The prompt; stdin is put before it, and - is stdin alone.")]
Model = Annotated[str | None, typer.Option("-m", "--model", help="provider/model, a bare model, or an alias.")]
Provider = Annotated[str | None, typer.Option("-p", "--provider", help="Take the best model of this provider.")]
Strategy = Annotated[str | None, typer.Option("--strategy", help="How the model is chosen.")]
Chain = Annotated[str | None, typer.Option("--chain", help="Try the models of this chain, in its order.")]
Fallback = Annotated[
    list[str] | None, typer.Option("--fallback", help="Try this model when those before it fail; repeatable.")
]
NoUpgrade = Annotated[bool, typer.Option("--no-upgrade", help="Never fall back to what costs over 3x the first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show which models would be tried, and why; send nothing.")]
Capability = Annotated[
    list[str] | None, typer.Option("--capability", help="What the model must be able to do; repeatable.")
]
Task = Annotated[str | None, typer.Option("--task", help="What the prompt is for; implies a capability.")]
System = Annotated[str | None, typer.Option("-s", "--system", help="The system prompt.")]
Temperature = Annotated[float | None, typer.Option("-t", "--temperature", help="0 to 2.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="The longest answer, reasoning included.")]
EffortOption = Annotated[str | None, typer.Option("--effort", help="none, low, medium or high.")]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="End the answer before this text; repeatable.")]
StrictParams = Annotated[
    bool, typer.Option("--strict-params", help="Only models that take every parameter, instead of leaving some out.")
]
NoFallback = Annotated[bool, typer.Option("--no-fallback", help="Try the first model only.")]
Budget = Annotated[float | None, typer.Option("--budget", help="USD that the request may cost, fallbacks included.")]
OnBudget = Annotated[
    str, typer.Option("--on-budget", help="cheaper: take a model that fits the budgets; refuse: exit 5 instead.")
]
MaxLatency = Annotated[int | None, typer.Option("--max-latency", help="Milliseconds that the answer may take.")]
MinQuality = Annotated[int | None, typer.Option("--min-quality", help="0 to 100.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds for the whole request; default 300.")]
PreferLocal = Annotated[bool, typer.Option("--prefer-local", help="Models of this machine before all others.")]
LocalOnly = Annotated[bool, typer.Option("--local-only", help="Never leave this machine.")]
Workspace = Annotated[str | None, typer.Option("--workspace", help="Whose bill it is on.")]
Execution = Annotated[str | None, typer.Option("--execution", help="Which run of yours it belongs to.")]
AsJSON = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of text.")]
Meta = Annotated[Path | None, typer.Option("--meta", help="Write what --json tells into this file.")]
UsageLine = Annotated[bool, typer.Option("-u", "--usage", help="One line about tokens, cost and time on stderr.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No notes on stderr; errors still.")]
Debug = Annotated[bool, typer.Option("--debug", help="Each step on stderr, and a trace when it is a bug.")]
NoStdin = Annotated[bool, typer.Option("--no-stdin", help="Leave stdin alone, as loops need it.")]
Color = Annotated[
    Literal["auto", "always", "never"],
    typer.Option("--color", help="auto: on a terminal, unless NO_COLOR is set or TERM is dumb."),
]
