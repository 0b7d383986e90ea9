"""What help says beside the flags: examples, exit codes, and how to start."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

EXIT_CODES = (
    "Exit codes: 0 ok; 1 a bug; 2 usage, or a request no model can serve; 3 needs a person (provider, key, credit, "
    "model); 4 every provider failed, try later; 5 budget; 6 incomplete or refused answer; 7 deadline; "
    "130, 143 signals."
)

START = """\
llmroute answers prompts from the best model that your keys, your budget and today's outages allow.
Set a key:     export ANTHROPIC_API_KEY=...  (or OPENAI_, MISTRAL_, TOGETHER_; Ollama needs none)
Ask:           llmroute gen "Why is the sky blue?"  (without a key the embedded engine answers)
Look:          llmroute health says what is set up, llmroute costs what it has cost
All commands:  llmroute --help
"""

EXAMPLES = {
    "gen": (
        'llmroute gen "Why is the sky blue?" --strategy cost_optimized',
        'git diff | llmroute gen "Write a commit message." -m anthropic/claude-haiku-4-5 --budget 0.01',
    ),
    "stream": (
        'llmroute stream "Tell me a story." -m openai/gpt-5.4-mini',
        'llmroute stream "Explain this log." --atomic < error.log',
    ),
    "models": ("llmroute models --capability vision --sort price", "llmroute models show claude-haiku-4-5"),
    "health": ("llmroute health", "llmroute health --provider anthropic --json"),
    "costs": ("llmroute costs --period month", "llmroute costs --json | jq .total_cost_usd"),
    "chains": ("llmroute chains", "llmroute gen hello --chain COST_OPTIMIZED"),
}


def epilog(command: str) -> str:
    """Return what stands under the flags of a command; the mark keeps its lines as they are."""
    examples = "\n".join(f"  {example}" for example in EXAMPLES[command])
    return f"\b\nExamples:\n{examples}\n\n{EXIT_CODES}"


class GroupedCommand(TyperCommand):
    """A command whose help shows flags in groups, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order in which the groups first appear."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)
