"""List the benches, or run one: `python -m tests.bench NAME [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import date
from importlib import import_module
from pathlib import Path

BENCHES = {
    "latency": "learned latencies against an oracle and two baselines, in three hundred random worlds",
    "plan": "the time of ranking 100 and 2,000 candidates",
}


def main(arguments: list[str]) -> int:
    """Run a bench: its table on stdout, and its figures into a file where one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what is promised.")
    parser.add_argument("name", nargs="?", choices=BENCHES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    asked, rest = parser.parse_known_args(arguments)
    if asked.name is None:
        for name, what in BENCHES.items():
            sys.stdout.write(f"{name:<10}{what}\n")
        return 0
    bench = import_module(f"tests.bench.{asked.name}")
    table, figures = bench.measure(*map(int, rest))
    sys.stdout.write(table)
    if asked.json:
        about = {"bench": asked.name, "date": date.today().isoformat()}  # noqa: DTZ011 (for people)
        machine = {"python": platform.python_version(), "cores": os.cpu_count()}
        asked.json.write_text(json.dumps({**about, **machine, "figures": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
