"""Whole processes, timed: wall, CPU and peak memory of each, in turns with what they are measured beside."""

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
# How a script has llmroute find no aiohttp transport where one is installed.
WITHOUT_AIOHTTP = 'import sys\nsys.modules["httpx_aiohttp"] = None\n'


class Took(NamedTuple):
    """What a process took: seconds to its end and to the first byte of its stdout, CPU seconds, peak bytes."""

    wall_s: float
    first_byte_s: float
    cpu_s: float
    peak_bytes: float

    def wall_beside(self, other: Took) -> str:
        """Return both wall times for people."""
        return f"{1000 * self.wall_s:.0f} ms / {1000 * other.wall_s:.0f} ms"

    def cpu_beside(self, other: Took) -> str:
        """Return both CPU times for people."""
        return f"{1000 * self.cpu_s:.0f} ms / {1000 * other.cpu_s:.0f} ms"

    def peak_beside(self, other: Took) -> str:
        """Return both peaks of memory for people."""
        return f"{self.peak_bytes / 1e6:.1f} MB / {other.peak_bytes / 1e6:.1f} MB"


@dataclass(frozen=True)
class Command:
    """A command and where it runs."""

    arguments: Sequence[str]
    home: Path
    settings: Mapping[str, str]

    def run(self) -> Took:
        """Run it once; it must exit with 0."""
        telling, told = os.pipe()
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(STOPWATCH), str(told), *self.arguments],
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC", **self.settings},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(told,),
                check=False,
            )
            os.close(told)
            *took, code = os.read(telling, 200).split()
        finally:
            os.close(telling)
        if int(code):
            raise RuntimeError(f"{' '.join(self.arguments)} ended with {int(code)}: {done.stderr.decode()[-2000:]}")
        return Took(*map(float, took))


def in_turns(commands: Mapping[str, Command], repeats: int = REPEATS) -> dict[str, Took]:
    """Run commands in turns, and return the median of what each took, to which one cold start does not matter.

    In turns, because what else the machine does must weigh on all of them alike.
    """
    runs: dict[str, list[Took]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            runs[name].append(command.run())
    return {name: Took(*(median(column) for column in zip(*taken, strict=True))) for name, taken in runs.items()}
