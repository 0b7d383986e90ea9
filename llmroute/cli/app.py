"""The commands: each is imported, and its flags are read from its signature, when it is the one that is called.

To make all of them takes three times as long as the interpreter takes to start.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from llmroute.cli.completion.scripts import with_shell
from llmroute.cli.help import GroupedCommand, GroupedGroup, epilog

# What the list of commands says of each, in its order; what a command itself says begins with the same words.
SUMMARIES = {
    "gen": "Answer a prompt, whole.",
    "stream": "Answer a prompt, piece by piece.",
    "health": "Tell what is set up, and how each provider is.",
    "models": "List and search models; update the catalogue.",
    "costs": "Show what calls cost; list them; set budgets; keep the ledger.",
    "chains": "List the fallback chains; keep and test your own.",
}


class Commands(TyperGroup):
    """Every command by its name; `commands` holds what stands in the list, not what is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=summary) for name, summary in SUMMARIES.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the program's own flags, two of which may name a shell or not."""
        return super().parse_args(ctx, with_shell(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is called, and what follows it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, called(name) if name else None, rest


def called(name: str) -> Any:
    """Import a command and return it as typer calls it."""
    command = getattr(import_module(f"llmroute.cli.commands.{name}"), name)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(command, typer.Typer):
        alone.add_typer(command, name=name, cls=GroupedGroup, epilog=epilog(name))
    else:
        alone.command(cls=GroupedCommand, epilog=epilog(name))(command)
    return get_group(alone).commands[name]
