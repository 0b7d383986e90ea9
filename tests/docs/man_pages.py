"""The manual pages in man/, from the help of each command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmroute import exit_codes
from llmroute.cli import app
from llmroute.cli.app import SUMMARIES, called
from llmroute.cli.help import PAGES, help_groups
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

MAN = ROOT / "man"
# Exit codes that every command may have.
_EVERYWHERE = (exit_codes.BUG, exit_codes.INTERRUPTED, exit_codes.TERMINATED)
_DESCRIPTION = """\
llmroute routes prompts to OpenAI, Anthropic, Mistral, Ollama and Together by cost, latency or quality, calls the next
model when a provider fails, keeps budgets, and writes each attempt with its cost to a local ledger."""
_FILES = {
    "~/.config/llmroute/config.toml": "Settings; LLMROUTE_CONFIG_DIR names another directory.",
    "~/.config/llmroute/.env": "API keys, where the environment has none.",
    "~/.config/llmroute/ledger.db": "The ledger; LLMROUTE_LEDGER names another file, or a server.",
}


def man_pages() -> dict[str, str]:
    """Return the text of each manual page by its file name."""
    return {"llmroute.1": _program_page()} | {f"{_page_name(name)}.1": _command_page(name) for name in PAGES}


def _program_page() -> str:
    from typer.main import get_group

    group: Any = get_group(app)
    lines = _head("", "route prompts over LLM providers with fallbacks, budgets and a cost ledger")
    lines += [".SH SYNOPSIS", ".B llmroute", _roff("[OPTIONS] COMMAND [ARGS]...")]
    lines += [".SH DESCRIPTION", _roff(_DESCRIPTION)]
    lines += _options(group, "llmroute")
    lines += _commands(SUMMARIES)
    lines += _exit_status(exit_codes.MEANINGS)
    lines.append(".SH FILES")
    for path, text in _FILES.items():
        lines += [".TP", f".I {_roff(path)}", _roff(text)]
    return _joined([*lines, *_see_also(SUMMARIES)])


def _command_page(name: str) -> str:
    command = _command(name)
    summary, _, description = command.help.partition("\n")
    page = PAGES[name]
    ctx = _context(command, name)
    lines = _head(name, _lower_first(summary.rstrip(".")))
    usage = " ".join(command.collect_usage_pieces(ctx))
    lines += [".SH SYNOPSIS", f".B llmroute {_roff(name)}", _roff(usage)]
    lines += [".SH DESCRIPTION", _roff(summary)]
    lines += [f".PP\n{_roff(paragraph)}" for paragraph in _paragraphs(description)]
    lines += _options(command, name)
    subcommands = {one: _command(one).help.partition("\n")[0] for one in PAGES if one.rpartition(" ")[0] == name}
    lines += _commands(subcommands)
    lines += [".SH EXAMPLES", ".EX", _roff(page.first), _roff(page.second), ".EE"]
    lines += _exit_status(sorted({*page.codes, *_EVERYWHERE}))
    return _joined([*lines, *_see_also([*filter(None, [name.rpartition(" ")[0]]), *subcommands], program=True)])


def _command(name: str) -> Any:
    word, *rest = name.split()
    command: Any = called(word)
    for word in rest:
        command = command.commands[word]
    return command


def _context(command: Any, name: str) -> Any:
    return command.context_class(command, info_name=f"llmroute {name}", **(app.info.context_settings or {}))


def _head(name: str, summary: str) -> list[str]:
    page = _page_name(name)
    title = f'.TH {_roff(page.upper())} 1 "" llmroute "llmroute manual"'
    # Neither hyphenated nor justified: flags and names stay as they are typed.
    return [title, ".nh", ".ad l", ".SH NAME", f"{_roff(page)} \\- {_roff(summary)}"]


def _options(command: Any, name: str) -> list[str]:
    lines = [".SH OPTIONS"]
    for group, records in help_groups(command, _context(command, name)).items():
        lines.append(f".SS {_roff(group)}")
        for flags, text in records:
            lines += [".TP", f".B {_roff(flags)}", _roff(text) or "\\&"]
    return lines


def _commands(summaries: dict[str, str]) -> list[str]:
    lines = [".SH COMMANDS"] if summaries else []
    for name, summary in summaries.items():
        lines += [".TP", f".BR {_roff(_page_name(name))} (1)", _roff(summary)]
    return lines


def _exit_status(codes: Iterable[int]) -> list[str]:
    lines = [".SH EXIT STATUS"]
    for code in codes:
        lines += [".TP", f".B {code}", _roff(exit_codes.MEANINGS[code])]
    return lines


def _see_also(names: Iterable[str], *, program: bool = False) -> list[str]:
    pages = [*(["llmroute"] if program else []), *map(_page_name, names)]
    return [".SH SEE ALSO", *(f".BR {_roff(page)} (1){',' if page != pages[-1] else ''}" for page in pages)]


def _page_name(command: str) -> str:
    return "-".join(["llmroute", *command.split()])


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph.strip()]


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _roff(text: str) -> str:
    """Return text that groff prints as it is: quotes, hyphens and a period at the beginning of a line included."""
    for plain, escape in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(plain, escape)
    return re.sub(r"^(?=\.)", r"\\&", text, flags=re.MULTILINE)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
