"""The parts of the README that the program tells itself: `python -m tests.readme` writes them anew."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from llmroute import exit_codes
from llmroute.cli import app
from llmroute.cli.commands import called
from llmroute.cli.helping import PAGES
from llmroute.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=<!-- generated: )([a-z ]+)( -->\n)(.*?)(?=<!-- end -->\n)", re.DOTALL)


def help_of(*command: str) -> str:
    """Return what `--help` prints on a terminal of 80 columns, or in a pipe."""
    return CliRunner().invoke(app, [*command, "--help"], prog_name="llmroute", terminal_width=80).output


def _help(*command: str) -> str:
    return f"```text\n{help_of(*command)}```\n"


def _commands() -> str:
    lines = ["| command | what it does | for example |", "| --- | --- | --- |"]
    for name, page in PAGES.items():
        word, *rest = name.split()
        command: Any = called(word)
        for word in rest:
            command = command.commands[word]
        purpose = command.help.partition("\n")[0]
        example = page.second.replace("|", "\\|")
        lines.append(f"| `{name}` | {purpose} | `{example}` |")
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
    return f"```sql\n{attempts};\n```\n\nBeside it: {rest}. `llmroute/ledger/tables.py` has them all.\n"


GENERATED: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "exit codes": _exit_codes,
    "help": _help,
    "gen help": lambda: _help("gen"),
    "ledger": _ledger,
}


def anew(text: str) -> str:
    """Return the README with every part that is generated as the program tells it today."""
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}{GENERATED[found[1]]()}", text)


if __name__ == "__main__":
    README.write_text(anew(README.read_text(encoding="utf-8")), encoding="utf-8")
