"""Run every bench, or one: `python -m tests.bench [NAME [SIZE ...]]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING

from tests.bench.promise import table

if TYPE_CHECKING:
    from tests.bench.promise import Measured

# Each is a module here with `measure(*sizes: int) -> Measured`; the sizes have defaults.
BENCHES = {
    "call": "whole processes: one call beside bare scripts and beside llm, and our own share of it",
    "settled": "whole processes: one call at a home with settings and a million rows beside one at a new home",
    "start": "whole processes: help, version and a TAB, which call nothing",
    "batch": "five thousand prompts, 64 and 256 at once, beside bare clients and litellm; memory of many",
    "generate": "the library with fallback beside raw httpx, CPU of each request",
    "faults": "ten thousand prompts through a provider that fails at random; calls stopped and billed all the same",
    "scale": "a ledger of ten million attempts beside one of a thousand",
    "plan": "the time of ranking 100 and 2,000 candidates",
    "latency": "learned latencies against an oracle and two baselines, in three hundred random worlds",
}


def main(arguments: list[str]) -> int:
    """Run a bench, or all: what they found on stdout, as a table and, with every figure, as JSON on the last line."""
    listed = "\n".join(f"  {name:<10}{what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure what is promised.",
        epilog=f"benches:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=BENCHES, help="which one; all of them unless given")
    parser.add_argument("sizes", nargs="*", type=int, help="how large, in the order of its measure()")
    asked = parser.parse_args(arguments)
    found: dict[str, Measured] = {}
    for name in [asked.name] if asked.name else BENCHES:
        found[name] = import_module(f"tests.bench.{name}").measure(*asked.sizes)
        sys.stdout.write(found[name].details)
    sys.stdout.write(table([promise for one in found.values() for promise in one.promises]))
    sys.stdout.write(f"\n{json.dumps(_as_json(found))}\n")
    return 0


def _as_json(found: dict[str, Measured]) -> dict[str, object]:
    about = {"date": date.today().isoformat(), "python": platform.python_version(), "cores": os.cpu_count()}  # noqa: DTZ011 (for people)
    promises = [
        {**vars(promise), "kept": promise.kept, "bench": name}
        for name, one in found.items()
        for promise in one.promises
    ]
    return {**about, "promises": promises, "figures": {name: one.figures for name, one in found.items()}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
