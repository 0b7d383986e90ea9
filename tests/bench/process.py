"""Measure complete processes: wall time, CPU time and peak memory, interleaved with their baselines."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STOPWATCH = Path(__file__).with_name("stopwatch.py")
LLMROUTE = str(Path(sys.executable).with_name("llmroute"))
REPEATS = 15
# Hides the aiohttp transport from llmroute.
WITHOUT_AIOHTTP = 'import sys\nsys.modules["httpx_aiohttp"] = None\n'


class ProcessUsage(NamedTuple):
    """Seconds to the exit of a process and to the first byte of its stdout, CPU seconds, peak memory in bytes."""

    wall_s: float
    first_byte_s: float
    cpu_s: float
    peak_bytes: float

    def compare_wall(self, other: ProcessUsage) -> str:
        """Return both wall times as text."""
        return f"{1000 * self.wall_s:.0f} ms / {1000 * other.wall_s:.0f} ms"

    def compare_cpu(self, other: ProcessUsage) -> str:
        """Return both CPU times as text."""
        return f"{1000 * self.cpu_s:.0f} ms / {1000 * other.cpu_s:.0f} ms"

    def compare_peak(self, other: ProcessUsage) -> str:
        """Return both memory peaks as text."""
        return f"{self.peak_bytes / 1e6:.1f} MB / {other.peak_bytes / 1e6:.1f} MB"


@dataclass(frozen=True)
class Command:
    """A command, its working directory and its environment."""

    arguments: Sequence[str]
    home: Path
    settings: Mapping[str, str]

    def run(self) -> ProcessUsage:
        """Run the command.

        Raises:
            RuntimeError: it exited with another code than 0.
        """
        read_fd, write_fd = os.pipe()
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(STOPWATCH), str(write_fd), *self.arguments],
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC", **self.settings},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(write_fd,),
                check=False,
            )
            os.close(write_fd)
            *usage, code = os.read(read_fd, 200).split()
        finally:
            os.close(read_fd)
        if int(code):
            raise RuntimeError(f"{' '.join(self.arguments)} ended with {int(code)}: {done.stderr.decode()[-2000:]}")
        return ProcessUsage(*map(float, usage))


def run_interleaved(commands: Mapping[str, Command], repeats: int = REPEATS) -> dict[str, ProcessUsage]:
    """Run the commands `repeats` times and return the median usage of each, which ignores single cold starts.

    Runs are interleaved, so that other load of the machine affects all commands equally.
    """
    runs: dict[str, list[ProcessUsage]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            runs[name].append(command.run())
    return {
        name: ProcessUsage(*(median(column) for column in zip(*taken, strict=True))) for name, taken in runs.items()
    }
