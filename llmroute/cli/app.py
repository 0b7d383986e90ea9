"""The commands; only the called one is imported, because importing all takes three times as long as starting Python."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from llmroute.cli.completion.scripts import with_shell
from llmroute.cli.help import GroupedCommand, GroupedGroup, epilog

# The commands and their summaries, in order; the help of each command begins with its summary.
SUMMARIES = {
    "gen": "Generate a response.",
    "stream": "Stream a response.",
    "health": "Check provider status.",
    "models": "List and search models; update the catalogue.",
    "costs": "Report costs, list attempts, set budgets, maintain the ledger.",
    "batches": "List, show and cancel the jobs of --tier batch.",
    "chains": "List, edit and test fallback chains.",
}


class Commands(TyperGroup):
    """The commands by name; `commands` has their summaries, and `resolve_command` imports the called one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in SUMMARIES.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the program's own flags, two of which have an optional value."""
        return super().parse_args(ctx, with_shell(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the called command; return it with its name and arguments."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, called(name) if name else None, rest


def called(name: str) -> Any:
    """Import a command and return it as a typer command."""
    command = getattr(import_module(f"llmroute.cli.commands.{name}"), name)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(command, typer.Typer):
        alone.add_typer(command, name=name, cls=GroupedGroup, epilog=epilog(name))
    else:
        alone.command(cls=GroupedCommand, epilog=epilog(name))(command)
    return get_group(alone).commands[name]
