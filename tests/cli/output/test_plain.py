"""Where no colour is wanted no command writes one escape, and what is made for a terminal fits it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.cli.output.test_costs_screens import MODELS, fill
from tests.support.model_server import ModelServer
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import environment, run

if TYPE_CHECKING:
    from pathlib import Path

# Each command as main runs it, one after the other in one process.
ALL = """
import json, sys
from llmroute.cli import app
from llmroute.cli.output import spinner
spinner.DELAY_S = 600  # it moves the cursor, on a busy machine even in a short call
for arguments in json.loads(sys.argv[1]):
    print(">>>", *arguments, flush=True)
    app(arguments, prog_name="llmroute", standalone_mode=False)
    sys.stdout.flush()
"""
COMMANDS = (
    ("--help",),
    ("gen", "--help"),
    ("gen", "hi", "-m", "openai/gpt-4o", "-u", "--no-stdin"),
    ("gen", "hi", "-m", "openai/gpt-4o", "--render", "--no-stdin"),
    ("gen", "hi", "-m", "openai/gpt-4o", "--json", "--no-stdin"),
    ("gen", "hi", "--dry-run", "--no-stdin"),
    ("stream", "hi", "-m", "openai/gpt-4o", "--render", "--no-stdin"),
    ("models",),
    ("models", "--json", "-p", "openai"),
    ("models", "show", "gpt-4o"),
    ("health",),
    ("chains",),
    ("costs", "--period", "all"),
    ("costs", "--period", "all", "--by", "day", "--md"),
    ("costs", "--period", "all", "--csv"),
    ("costs", "calls"),
    ("costs", "budget"),
    ("costs", "check"),
    ("costs", "path"),
)
COLOURED = {"gen", "stream", "costs"}
"""The commands that take --color."""
FITTED = COMMANDS[5:6] + COMMANDS[7:8] + COMMANDS[9:11] + COMMANDS[12:13] + COMMANDS[15:17]
"""What is laid out for the terminal's width; a name or an address that is longer than a line is never cut."""
LONGEST = MODELS[1][1]


def never(arguments: tuple[str, ...]) -> tuple[str, ...]:
    flagged = (
        arguments[0] in COLOURED and "--help" not in arguments and (arguments[0] != "costs" or arguments[1][0] == "-")
    )
    return (*arguments, "--color", "never") if flagged else arguments


def sections(text: str) -> dict[str, str]:
    """Return what each command wrote."""
    found = {}
    for part in text.split(">>> ")[1:]:
        head, _, rest = part.partition("\n")
        found[head] = rest
    return found


@pytest.mark.parametrize("how", ["NO_COLOR", "TERM", "--color", "pipe"])
def test_not_one_escape_byte(how: str, tmp_path: Path) -> None:
    fill(tmp_path, 12, wide=True)
    asked = json.dumps([never(one) if how == "--color" else one for one in COMMANDS])
    command = (sys.executable, "-c", ALL)
    settings = {"NO_COLOR": {"NO_COLOR": "1"}, "TERM": {"TERM": "dumb"}}.get(how, {})
    with ModelServer(words=("**bold** ", "`code`\n")) as server:
        if how == "pipe":
            env = environment(tmp_path, **{**server.settings, "TERM": "xterm-256color"})
            done = subprocess.run([*command, asked], env=env, cwd=tmp_path, capture_output=True, timeout=60, check=True)
            text = (done.stdout + done.stderr).decode()
        else:
            told = {**server.settings, **settings}
            seen = run_on_terminal(asked, home=tmp_path, columns=80, lines=24, command=command, **told)
            assert seen.code == 0, seen.text
            text = seen.text
    assert len(sections(text)) == len(COMMANDS)
    assert "\x1b" not in text


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50)])
def test_what_is_laid_out_for_a_terminal_fits_it(columns: int, lines: int, tmp_path: Path) -> None:
    fill(tmp_path, 12, wide=False)
    command = (sys.executable, "-c", ALL)
    with ModelServer() as server:
        seen = run_on_terminal(
            json.dumps(COMMANDS), home=tmp_path, columns=columns, lines=lines, command=command, **server.settings
        )
    assert seen.code == 0, seen.text
    assert "\x1b[" in seen.text, "colours are used"
    told = sections(seen.text)
    for name in map(" ".join, FITTED):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", told[name])
        too_long = [line for line in plain.splitlines() if cell_len(line) > columns and LONGEST not in line]
        assert too_long == [], name


def test_what_another_model_would_have_cost_fits_80_columns_in_a_pipe(tmp_path: Path) -> None:
    fill(tmp_path, 12, wide=False)
    (tmp_path / "llmroute" / "config.toml").write_text(
        '[models."openai/a-model-with-a-long-name-of-the-house"]\nquality = 100\ninput = 10\noutput = 40\n'
    )
    text = run("costs", "--period", "all", home=tmp_path).out
    _, _, told = text.partition("\nwhat if: ")
    assert "a-model-with-a-long-name-of-the-house" in told
    assert max(map(len, f"what if: {told}".splitlines())) <= 80
