"""What is answered without a call, as a whole process, beside an interpreter that does nothing."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.process import LLMROUTE, REPEATS, Command, in_turns
from tests.bench.promise import Measured, Promise

# What no command line that stands on typer can do without, and the soonest way out.
TYPER = "import gc, os; gc.disable(); import typer; os._exit(0)"
TAB = {"_LLMROUTE_COMPLETE": "complete_bash", "COMP_WORDS": "llmroute gen --mo", "COMP_CWORD": "2"}


def measure(repeats: int = REPEATS) -> Measured:
    """Run each of them so many times, in turns."""
    found = Measured()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        own = {"LLMROUTE_CONFIG_DIR": name}
        took = in_turns(
            {
                "nothing": Command((sys.executable, "-c", "pass"), home, {}),
                "--help": Command((LLMROUTE, "--help"), home, own),
                "--version": Command((LLMROUTE, "--version"), home, own),
                "TAB": Command((LLMROUTE,), home, {**own, **TAB}),
                "typer": Command((sys.executable, "-c", TYPER), home, {}),
            },
            repeats,
        )
    found.add(took)
    nothing_s = took.pop("nothing").cpu_s
    least = f"+{1000 * (took.pop('typer').cpu_s - nothing_s):.0f} ms to import typer and leave"
    found.promises += [
        Promise(f"{name}, CPU more than", "python -c pass", 60, 1000 * (one.cpu_s - nothing_s), "ms", note=least)
        for name, one in took.items()
    ]
    return found
