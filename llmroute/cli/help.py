"""Help texts: examples and exit codes of each command, flags in groups, and the first steps."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from typer.core import TyperCommand, TyperGroup

from llmroute import exit_codes

_SET_KEY = "export ANTHROPIC_API_KEY=...  (or OPENAI_, MISTRAL_, TOGETHER_"
_GENERATE = 'llmroute gen "Why is the sky blue?"'
START = f"""\
llmroute routes prompts to OpenAI, Anthropic, Mistral, Ollama and Together, with fallbacks, budgets and a cost ledger.
Set a key:     {_SET_KEY}; Ollama needs none)
Generate:      {_GENERATE}  (without a key, first: llmroute models pull builtin/smollm2-135m)
Check:         llmroute health (the providers that are set up), llmroute costs (the costs so far)
All commands:  llmroute --help
"""
# The first character makes click keep the line breaks.
PROGRAM = f"""\
\b
Route prompts over LLM providers with fallbacks, budgets and a cost ledger.
Example:  {_GENERATE}
Keys:     {_SET_KEY})
"""


class Page(NamedTuple):
    """Two examples of a command, and its exit codes other than those of bugs and signals."""

    first: str
    second: str
    codes: tuple[int, ...]


_ANY = tuple(exit_codes.MEANINGS)
_READS = (0, 2, 3)
_SENDS = (0, 2, 3, 4, 6)

PAGES: Final = {
    "gen": Page(
        'llmroute gen "Why is the sky blue?" --strategy cost_optimized',
        'git diff --staged | llmroute gen "Write a commit message." --budget 0.01',
        _ANY,
    ),
    "stream": Page(
        'llmroute stream "Tell me a story." -m openai/gpt-5.4-mini',
        'llmroute stream "Explain this log." --atomic < error.log',
        _ANY,
    ),
    "health": Page("llmroute health", "llmroute health --provider anthropic --json", (0, 2, 3, 4)),
    "models": Page("llmroute models haiku", "llmroute models --capability vision --sort price", _SENDS),
    "models show": Page("llmroute models show claude-haiku-4-5", "llmroute models show haiku --json", _READS),
    "models pull": Page("llmroute models pull ollama/qwen3", "llmroute models pull builtin/smollm2-135m", _SENDS),
    "models refresh": Page(
        "llmroute models refresh", "llmroute models refresh --from prices.json --yes --json", _SENDS
    ),
    "costs": Page("llmroute costs --period month", "llmroute costs --since 7d --by day --csv", _READS),
    "costs calls": Page("llmroute costs calls --last 20", "llmroute costs calls --workspace nightly --json", _READS),
    "costs correct": Page(
        "llmroute costs correct 17 --cost 0.0123", "llmroute costs correct 17 --cost 0.0123 --json", _READS
    ),
    "costs export": Page(
        "llmroute costs export bill.csv",
        "llmroute costs export --format otlp --to http://127.0.0.1:4318",
        (0, 2, 3, 4),
    ),
    "costs reconcile": Page(
        "llmroute costs reconcile --period month", "llmroute costs reconcile --tolerance 5 --json", (0, 2, 3, 4)
    ),
    "costs path": Page("llmroute costs path", 'ls -lh "$(llmroute costs path)"', _READS),
    "costs check": Page("llmroute costs check", "llmroute costs check --repair --dry-run", _READS),
    "costs restore": Page(
        "llmroute costs restore ledger-copy.db", "llmroute costs restore ~/backups/ledger-2026-11-01.db", _READS
    ),
    "costs backup": Page(
        "llmroute costs backup ledger-copy.db", 'llmroute costs backup "ledger-$(date +%F).db"', _READS
    ),
    "costs move": Page(
        "llmroute costs move postgresql://me@db.example.com/team",
        "llmroute costs move postgresql://me@db.example.com/team --from old-ledger.db",
        _READS,
    ),
    "costs prune": Page("llmroute costs prune --older-than 90d", "llmroute costs prune --older-than 2y --yes", _READS),
    "costs budget": Page("llmroute costs budget", "llmroute costs budget --json", _READS),
    "costs budget set": Page(
        "llmroute costs budget set --month 20 --day 2",
        "llmroute costs budget set --workspace nightly --month none",
        _READS,
    ),
    "batches": Page("llmroute batches", "llmroute batches --json", _READS),
    "batches show": Page("llmroute batches show 01a21e", "llmroute batches show 01a21e --json", _READS),
    "batches cancel": Page("llmroute batches cancel 01a21e", "llmroute batches cancel 01a21e --yes", (0, 2, 3, 4)),
    "chains": Page("llmroute chains", "llmroute gen hello --chain COST_OPTIMIZED", _READS),
    "chains show": Page("llmroute chains show HIGH_QUALITY", "llmroute chains show mine --json", _READS),
    "chains set": Page(
        "llmroute chains set mine anthropic/claude-haiku-4-5 ollama/qwen3",
        "llmroute chains set LOCAL_ONLY ollama/qwen3",
        _READS,
    ),
    "chains remove": Page("llmroute chains remove mine", "llmroute chains remove LOCAL_ONLY", _READS),
    "chains test": Page("llmroute chains test mine", "llmroute chains test FAST_LATENCY --yes --json", (0, 2, 3, 4)),
}


def epilog(command: str) -> str:
    """Return the text below the flags of a command; its first character makes click keep the line breaks."""
    page = PAGES[command]
    everywhere = (exit_codes.BUG, exit_codes.INTERRUPTED, exit_codes.TERMINATED)
    codes = (f"{code} {exit_codes.MEANINGS[code]}" for code in sorted({*page.codes, *everywhere}))
    return f"\b\nExamples:\n  {page.first}\n  {page.second}\n\nExit codes: {'; '.join(codes)}."


def exit_codes_in_short() -> str:
    """Return the exit codes with the first words of their meanings, in one line."""
    codes = (f"{code} {re.split(' ?[:,(]', meaning)[0]}" for code, meaning in exit_codes.MEANINGS.items())
    return f"Exit codes: {'; '.join(codes)}."


class GroupedCommand(TyperCommand):
    """A command whose help lists its flags in groups, as plain text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; too many of them are probably an unquoted prompt."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            prompt = ctx.params.get("prompt")
            if prompt is None:
                ctx.fail(f"unexpected argument {ctx.args[0]!r}")
            ctx.fail(f'unexpected argument {ctx.args[0]!r}: put the prompt in quotes, "{prompt} {ctx.args[0]} ..."')
        return list(ctx.args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group of flags."""
        _write_in_groups(self, ctx, formatter)


class GroupedGroup(TyperGroup):
    """As `GroupedCommand`, for a command with subcommands, which may take an optional argument instead of one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the first word as the name of a command if there is one of that name, else as the group's argument."""
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        if arguments:
            values, _, _ = self.make_parser(ctx).parse_args(args=[*args])
            if str(values.get(str(arguments[0].name))) in self.commands:
                self.params = [parameter for parameter in self.params if parameter not in arguments]
            else:
                ctx.allow_interspersed_args = True
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the command that is called; a flag before its name would have no effect."""
        name, command, rest = super().resolve_command(ctx, args)
        given = self._given(ctx)
        if given and command is not None and not ctx.resilient_parsing:
            flag = given[0].opts[-1]
            if any(set(given[0].opts) & set(one.opts) for one in command.params):
                ctx.fail(f"{flag} has no effect before {name}: put it after {name}")
            ctx.fail(f"{name} has no {flag}, which has no effect before it: leave it out")
        return name, command, rest

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer flags and commands."""
        fitting = self.fitting_commands(ctx)
        offered = super().shell_complete(ctx, incomplete)
        return [item for item in offered if item.value not in self.commands or item.value in fitting]

    def fitting_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands that may follow: none after a flag, which has no effect before one."""
        return [] if self._given(ctx) else [*self.commands]

    def _given(self, ctx: Any) -> list[Any]:
        """Return the parameters of the group on the command line."""
        return [one for one in self.params if getattr(ctx.get_parameter_source(one.name), "name", "") == "COMMANDLINE"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group of flags, then the commands."""
        _write_in_groups(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def help_groups(command: TyperCommand | TyperGroup, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the flags and arguments with their help by group, in the order of their first; `Options` is last."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            default = "Options" if parameter.param_type_name == "option" else "Arguments"
            groups.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(record)
    return {name: groups[name] for name in sorted(groups, key=lambda name: name == "Options")}


def _write_in_groups(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    """Write a section for each group of flags."""
    for name, records in help_groups(command, ctx).items():
        with formatter.section(name):
            formatter.write_dl(records)
