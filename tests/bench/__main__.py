"""Run every benchmark, or one: `python -m tests.bench [NAME [SIZE ...]]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING

from tests.bench.report import table

if TYPE_CHECKING:
    from tests.bench.report import BenchResult

# Each is a module of this package with `measure(*sizes: int) -> BenchResult`; the sizes have defaults.
BENCHES = {
    "call": "complete processes: one call, compared with plain scripts and llm, and the share of llmroute",
    "settled": "complete processes: one call with a configuration and a million attempts, compared with a new home",
    "start": "complete processes: help, version and completion, without a call",
    "batch": "5,000 prompts, 64 and 256 at once, compared with plain clients and litellm; memory of 100,000",
    "jobs": "batch jobs of 50,000 lines at four vendors: CPU time, and memory compared with 5,000",
    "generate": "the library with fallback, compared with plain httpx, CPU time of each request",
    "faults": "10,000 prompts through a provider that fails at random; interrupted calls that are billed",
    "scale": "a ledger of ten million attempts, compared with one of a thousand",
    "page": "costs --html of a ledger of ten million attempts",
    "fleet": "a ledger on PostgreSQL: attempts per second, round trips, reports and pruning of ten million attempts",
    "plan": "CPU time of ranking 100 and 2,000 candidates",
    "worth": "expected costs against true ones, and what the strategies spend and get right, in 60 simulated worlds",
    "latency": "latency routing, compared with an oracle and two baselines, in 300 simulated worlds",
}


def main(arguments: list[str]) -> int:
    """Run one benchmark, or all, and print a table and, on the last line, all figures as JSON."""
    listed = "\n".join(f"  {name:<10}{what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Run benchmarks and compare them with their targets.",
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=BENCHES, help="the benchmark to run; default: all")
    parser.add_argument("sizes", nargs="*", type=int, help="sizes, in the order of the parameters of its measure()")
    asked = parser.parse_args(arguments)
    found: dict[str, BenchResult] = {}
    for name in [asked.name] if asked.name else BENCHES:
        found[name] = import_module(f"tests.bench.{name}").measure(*asked.sizes)
        sys.stdout.write(found[name].details)
    sys.stdout.write(table([measurement for one in found.values() for measurement in one.measurements]))
    sys.stdout.write(f"\n{json.dumps(_as_json(found))}\n")
    return 0


def _as_json(found: dict[str, BenchResult]) -> dict[str, object]:
    about = {"date": date.today().isoformat(), "python": platform.python_version(), "cores": os.cpu_count()}  # noqa: DTZ011 (for people)
    measurements = [
        {**vars(measurement), "passed": measurement.passed, "bench": name}
        for name, one in found.items()
        for measurement in one.measurements
    ]
    return {**about, "measurements": measurements, "figures": {name: one.figures for name, one in found.items()}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
