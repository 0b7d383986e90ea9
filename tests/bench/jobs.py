"""Batch jobs of four vendors on loopback: CPU time of each line, and peak memory of many lines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.process import LLMROUTE, Command
from tests.bench.report import BenchResult, Measurement
from tests.jobs.homes import GEN, Home
from tests.support.batch_vendor import BatchVendor
from tests.support.fault_server import serving

if TYPE_CHECKING:
    from tests.bench.process import ProcessUsage

LINES = (5_000, 50_000)
MEMORY = 1.2
CPU_MS = 2.0


def run_lines(count: int, prompt: str = "prompt") -> ProcessUsage:
    """Run a batch of `count` lines, each of them `prompt` and a number; return the usage of the process.

    Raises:
        AssertionError: a line has no result or two, or the ledger is not the bill of the vendors.
    """
    vendor, prompts = BatchVendor(), [f"{prompt} {number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder, serving(vendor.answer) as server:
        home = Home(Path(folder), vendor, server)
        home.write(prompts)
        usage = Command((LLMROUTE, *GEN), home.folder, home.settings).run()
        home.assert_all_answered_once(prompts)
    return usage


def measure(few: int = LINES[0], many: int = LINES[1]) -> BenchResult:
    """Compare the memory of `few` and of `many` lines, and measure the CPU time of each of the latter."""
    small, large = run_lines(few), run_lines(many)
    found = BenchResult()
    found.add({f"jobs of {few:,} lines": small, f"jobs of {many:,} lines": large})
    what = f"batch jobs, {many:,} lines over four providers"
    memory, cpu_ms = large.peak_bytes / small.peak_bytes, 1000 * large.cpu_s / many
    pace = f"{many / large.wall_s:,.0f} lines/s"
    found.measurements = [
        Measurement(f"{what}, peak memory", f"{few:,} lines", MEMORY, memory, note=large.compare_peak(small)),
        Measurement(f"{what}, CPU time of each", "", CPU_MS, cpu_ms, "ms", note=pace),
    ]
    return found
