"""The parts of README and docs/ that come from the program: help, tables, and the output of examples."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from llmroute import exit_codes
from llmroute.cli import app
from llmroute.cli.app import called
from llmroute.cli.help import PAGES
from llmroute.ledger.sqlite.store import Ledger
from tests.docs.consoles import CONSOLES
from tests.docs.failures import failure_table

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = re.compile(r"(?<=<!-- generated: )([a-z ]+)( -->\n)(.*?)(?=<!-- end -->\n)", re.DOTALL)


def help_of(*command: str) -> str:
    """Return what `--help` prints on a terminal of 80 columns, or in a pipe."""
    return CliRunner().invoke(app, [*command, "--help"], prog_name="llmroute", terminal_width=80).output


def _all_help() -> str:
    sections = [f"## llmroute\n\n```text\n{help_of()}```\n"]
    sections += [f"## llmroute {name}\n\n```text\n{help_of(*name.split())}```\n" for name in PAGES]
    return "\n".join(sections)


def _commands() -> str:
    lines = ["| command | purpose |", "| --- | --- |"]
    for name in PAGES:
        word, *rest = name.split()
        command: Any = called(word)
        for word in rest:
            command = command.commands[word]
        anchor = f"llmroute-{name.replace(' ', '-')}"
        lines.append(f"| [`{name}`](#{anchor}) | {command.help.partition(chr(10))[0]} |")
    return "\n".join(lines) + "\n"


def _exit_codes() -> str:
    lines = [f"| {code} | {meaning} |" for code, meaning in exit_codes.MEANINGS.items()]
    return "\n".join(["| code | meaning |", "| --- | --- |", *lines]) + "\n"


def _ledger() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        Ledger(path).close()
        db = sqlite3.connect(path)
        (attempts,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'attempts'").fetchone()
        others = [f"`{name}`" for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        db.close()
    rest = ", ".join(name for name in others if name not in ("`attempts`", "`sqlite_sequence`"))
    return f"```sql\n{attempts};\n```\n\nOther tables: {rest}.\n"


GENERATED: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "exit codes": _exit_codes,
    "failures": failure_table,
    "help": _all_help,
    "ledger": _ledger,
    **CONSOLES,
}


def regenerated(text: str) -> str:
    """Return the text of a page with every generated part as it comes out today."""
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}{GENERATED[found[1]]()}", text)
