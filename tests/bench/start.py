"""Commands that call no provider: help, version and completion."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.process import LLMROUTE, REPEATS, Command, run_interleaved
from tests.bench.report import BenchResult, Measurement

# What no command line that stands on typer can do without, and the soonest way out.
TYPER = "import gc, os; gc.disable(); import typer; os._exit(0)"
TAB = {"_LLMROUTE_COMPLETE": "complete_bash", "COMP_WORDS": "llmroute gen --mo", "COMP_CWORD": "2"}


def measure(repeats: int = REPEATS) -> BenchResult:
    """Run each of them so many times, in turns."""
    found = BenchResult()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        own = {"LLMROUTE_CONFIG_DIR": name}
        usage = run_interleaved(
            {
                "nothing": Command((sys.executable, "-c", "pass"), home, {}),
                "--help": Command((LLMROUTE, "--help"), home, own),
                "--version": Command((LLMROUTE, "--version"), home, own),
                "TAB": Command((LLMROUTE,), home, {**own, **TAB}),
                "typer": Command((sys.executable, "-c", TYPER), home, {}),
            },
            repeats,
        )
    found.add(usage)
    nothing_s = usage.pop("nothing").cpu_s
    least = f"+{1000 * (usage.pop('typer').cpu_s - nothing_s):.0f} ms to import typer and leave"
    found.measurements += [
        Measurement(f"{name}, CPU more than", "python -c pass", 60, 1000 * (one.cpu_s - nothing_s), "ms", note=least)
        for name, one in usage.items()
    ]
    return found
